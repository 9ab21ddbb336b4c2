//! Cross entropy of the next token.

use super::shape::Shape;
use crate::task::TaskError;
use lockstep_c10d::linear_cross_entropy;
use tch::{Device, Reduction, Tensor};

/// Logits that are there at once while training. A GPU multiplies large matrices faster than small ones.
const MAX_BYTES: i64 = 64 << 20;
const MAX_BYTES_ON_GPUS: i64 = 1 << 30;

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
    let most = if head.device() == Device::Cpu { MAX_BYTES } else { MAX_BYTES_ON_GPUS };
    let rows = (most / (4 * shape.padded_vocab)).max(1);
    let (hidden, targets) = (hidden.f_flatten(0, 1)?, targets.f_reshape([-1])?);
    Ok(linear_cross_entropy(&hidden, head, &targets, shape.vocab, rows)?)
}

/// The same of logits that are there already.
///
/// Shapes: `logits` `[B, T, vocab]`, `targets` `[B, T]`
pub(super) fn of_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor, TaskError> {
    let vocab = logits.size()[2];
    let (logits, targets) = (logits.f_reshape([-1, vocab])?, targets.f_reshape([-1])?);
    Ok(logits.f_cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Sum, NO_IGNORED_TOKEN, 0.0)?)
}
