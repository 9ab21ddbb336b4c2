//! What classifiers have in common.

use crate::task::{Batch, Outputs, Score, Setup, TaskError};
use tch::{Kind, Reduction, Tensor};

pub(super) const LABEL: &str = "label";
pub(super) const LOGITS: &str = "logits";

/// Far more than any classifier has: what an index says beyond it is wrong, and a layer of that width fills the memory.
const MAX_CLASSES: i64 = 1 << 20;

/// No label is ignored: libtorch's default of -100 would pass silently.
const NO_IGNORED_LABEL: i64 = i64::MIN;

/// How many classes the data has.
pub(super) fn num_classes(setup: &Setup<'_>) -> Result<i64, TaskError> {
    let num_classes = setup.num_classes.ok_or(TaskError::NoClasses)?;
    if num_classes > MAX_CLASSES {
        return Err(TaskError::TooManyClasses { num_classes, most: MAX_CLASSES });
    }
    Ok(num_classes)
}

/// Cross entropy, summed over the samples; `smoothing` is the share of a label that is spread over all classes. A label that
/// is none is named with its sample.
///
/// Shapes: `logits` is `[len, num_classes]`.
pub(super) fn loss(
    logits: &Tensor,
    batch: &Batch,
    num_classes: i64,
    smoothing: f64,
) -> Result<Tensor, TaskError> {
    let labels = labels(batch)?;
    let loss =
        logits.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, NO_IGNORED_LABEL, smoothing);
    loss.or_else(|e| batch.check_labels(LABEL, num_classes).and(Err(e.into())))
}

/// The loss, and `accuracy`: how often the largest logit is the label's.
pub(super) fn score(outputs: &Outputs, batch: &Batch, num_classes: i64) -> Result<Score, TaskError> {
    let logits = outputs.get(LOGITS)?;
    let loss = loss(logits, batch, num_classes, 0.0)?;
    let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels(batch)?)?.f_sum(Kind::Double)?;
    Ok(Score { loss, metrics: vec![("accuracy", correct)] })
}

fn labels(batch: &Batch) -> Result<Tensor, TaskError> {
    Ok(batch.column(LABEL)?.f_view([-1])?.f_to_kind(Kind::Int64)?)
}
