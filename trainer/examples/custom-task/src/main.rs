//! A worker with a task of its own: a small convolutional network on the digits.
//!
//! The job file beside this crate names the binary in `worker` and passes `model.config` to [`Digits::build`].

use lockstep_trainer::tch::{Kind, Reduction, Tensor, nn};
use lockstep_trainer::{Batch, Model, Outputs, Score, Setup, Task, TaskError};
use serde::Deserialize;
use std::num::NonZeroU16;
use std::process::ExitCode;

/// Side of an image, in pixels.
const SIDE: i64 = 8;
/// The digits' pixels go from 0 to this.
const WHITE: f64 = 16.0;

/// No label is left out of the loss.
const NONE_IGNORED: i64 = i64::MIN;

/// `model.config` of the job file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Feature maps of the convolution.
    channels: NonZeroU16,
}

struct Digits;

impl Task for Digits {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let config: Config = setup.config()?;
        let channels = i64::from(config.channels.get());
        let num_classes = setup.num_classes.ok_or(TaskError::NoClasses)?;
        let padded = nn::ConvConfig { padding: 1, ..Default::default() };
        let num_features = channels * (SIDE / 2) * (SIDE / 2);
        Ok(Box::new(Cnn {
            conv: nn::conv2d(root / "conv", 1, channels, 3, padded),
            out: nn::linear(root / "out", num_features, num_classes, Default::default()),
            num_classes,
        }))
    }
}

/// Convolution, pooling, one linear layer.
struct Cnn {
    conv: nn::Conv2D,
    out: nn::Linear,
    num_classes: i64,
}

impl Cnn {
    /// Shape: `[samples, classes]`.
    fn logits(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        // What depends on the data uses the functions named `f_…`, which return errors; those without it panic. Behind this
        // line all shapes are known.
        let image = batch.column("x")?.f_view([-1, 1, SIDE, SIDE])?.f_to_kind(Kind::Float)? / WHITE;
        let maps = image.apply(&self.conv).relu().max_pool2d_default(2);
        Ok(maps.flatten(1, -1).apply(&self.out))
    }

    /// A sum over the samples: Lockstep divides by their number.
    fn loss(&self, logits: &Tensor, batch: &Batch) -> Result<Tensor, TaskError> {
        let labels = batch.column("label")?;
        let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Sum, NONE_IGNORED, 0.0);
        // On an error: was it a label? Then name the sample.
        loss.or_else(|e| batch.check_labels("label", self.num_classes).and(Err(e.into())))
    }
}

impl Model for Cnn {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        self.loss(&self.logits(batch)?, batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        Ok(Outputs::new([("logits", self.logits(batch)?)]))
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        let logits = outputs.get("logits")?;
        let correct = logits.argmax(1, false).f_eq_tensor(batch.column("label")?)?;
        let metrics = vec![("accuracy", correct.sum(Kind::Double))];
        Ok(Score { loss: self.loss(logits, batch)?, metrics })
    }
}

fn main() -> ExitCode {
    lockstep_trainer::main(Digits)
}
