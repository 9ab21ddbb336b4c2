//! Cross entropy of the next token.

use super::shape::Shape;
use crate::task::TaskError;
use tch::{Kind, Reduction, Tensor};

/// Logits that are made at once. Of each part autograd keeps the log-probabilities until the backward pass, so all parts
/// together hold as many numbers as the logits; what this bounds is everything else, the logits themselves above all. For
/// less, the gradient would have to be computed along with the loss.
const MAX_BYTES: i64 = 64 << 20;

/// No token is ignored: libtorch's default of -100 would pass silently.
const NO_IGNORED_TOKEN: i64 = i64::MIN;

/// Summed over all tokens; 0, but with a graph to every parameter, where there are none.
///
/// Shapes: `hidden` `[B, T, W]`, `head` `[padded vocab, W]`, `targets` `[B, T]`
pub(super) fn of_hidden(
    hidden: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    shape: &Shape,
) -> Result<Tensor, TaskError> {
    let rows = (MAX_BYTES / (4 * shape.padded_vocab)).max(1);
    in_parts(hidden, head, targets, shape.vocab, rows)
}

/// Of so many rows of logits at once.
pub(super) fn in_parts(
    hidden: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    vocab: i64,
    rows: i64,
) -> Result<Tensor, TaskError> {
    // Of nothing there is one part, of no rows.
    let hidden = hidden.f_flatten(0, 1)?.f_split(rows, 0)?;
    let targets = targets.f_reshape([-1])?.f_split(rows, 0)?;
    let part = |(hidden, targets): (&Tensor, &Tensor)| -> Result<Tensor, TaskError> {
        let logits = hidden.f_linear(head, None::<&Tensor>)?.f_narrow(1, 0, vocab)?;
        cross_entropy(&logits, targets)
    };
    let parts: Vec<_> = hidden.iter().zip(&targets).map(part).collect::<Result<_, _>>()?;
    Ok(Tensor::f_stack(&parts, 0)?.f_sum(Kind::Float)?)
}

/// The same of logits that are there already.
///
/// Shapes: `logits` `[B, T, vocab]`, `targets` `[B, T]`
pub(super) fn of_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor, TaskError> {
    let vocab = logits.size()[2];
    cross_entropy(&logits.f_reshape([-1, vocab])?, &targets.f_reshape([-1])?)
}

fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor, TaskError> {
    Ok(logits.f_cross_entropy_loss(targets, None::<&Tensor>, Reduction::Sum, NO_IGNORED_TOKEN, 0.0)?)
}
