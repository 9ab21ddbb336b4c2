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
    if batch.is_moved() {
        // A GPU would only say, and later, that some index was out of bounds, and be of no use from then on.
        batch.check_labels(LABEL, num_classes)?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The share is spread over all classes, the label's among them.
    #[test]
    fn smoothing_takes_its_share_from_the_label() {
        let logits = Tensor::from_slice(&[2.0f32, -1.0, 0.5, 0.0, 0.0, 3.0]).view([2, 3]);
        let label = Tensor::from_slice(&[0i64, 2]);
        let batch = Batch::new(vec![(LABEL.to_owned(), label.shallow_clone())], vec![4, 5]);
        let of = |smoothing| loss(&logits, &batch, 3, smoothing).unwrap().double_value(&[]);
        let log_probabilities = logits.log_softmax(1, Kind::Double);
        let hard =
            -log_probabilities.gather(1, &label.view([2, 1]), false).sum(Kind::Double).double_value(&[]);
        let even =
            -log_probabilities.mean_dim([1].as_slice(), false, None).sum(Kind::Double).double_value(&[]);
        assert!((of(0.0) - hard).abs() < 1e-5);
        assert!((of(0.1) - (0.9 * hard + 0.1 * even)).abs() < 1e-5 && (of(0.1) - hard).abs() > 0.05);
    }

    #[test]
    fn a_label_that_is_none_is_named_with_its_sample() {
        let logits = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let batch = Batch::new(vec![(LABEL.to_owned(), Tensor::from_slice(&[0i64, 3]))], vec![4, 5]);
        let error = loss(&logits, &batch, 3, 0.0).unwrap_err().to_string();
        assert!(error.contains("sample 5 has label 3"), "{error}");
    }
}
