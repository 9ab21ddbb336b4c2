//! A worker with a task of its own: a small convolutional network on the digits.
//!
//! The job file beside this crate names the binary in `worker` and passes `model.config` to [`Digits::build`].

use lockstep_trainer::{Batch, Mode, Model, Output, Setup, Task, TaskError};
use serde::Deserialize;
use std::process::ExitCode;
use tch::{Kind, Reduction, Tensor, nn};

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
    channels: i64,
}

struct Digits;

impl Task for Digits {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let Config { channels } = setup.config()?;
        let num_classes = setup.num_classes.ok_or(TaskError::NoClasses)?;
        let num_features = channels * (SIDE / 2) * (SIDE / 2);
        Ok(Box::new(Cnn {
            kernel: root.f_kaiming_uniform("kernel", &[channels, 1, 3, 3])?,
            weight: root.f_kaiming_uniform("weight", &[num_classes, num_features])?,
            bias: root.f_zeros("bias", &[num_classes])?,
            num_classes,
        }))
    }
}

/// Convolution, pooling, one linear layer.
struct Cnn {
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
    num_classes: i64,
}

impl Model for Cnn {
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<Output, TaskError> {
        let labels = batch.column("label")?;
        let image =
            batch.column("x")?.f_view([-1, 1, SIDE, SIDE])?.f_to_kind(Kind::Float)?.f_div_scalar(WHITE)?;
        let maps = image
            .f_conv2d(&self.kernel, None::<Tensor>, 1, 1, 1, 1)?
            .f_relu()?
            .f_max_pool2d(2, 2, 0, 1, false)?;
        let logits = maps.f_flatten(1, -1)?.f_linear(&self.weight, Some(&self.bias))?;
        let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Sum, NONE_IGNORED, 0.0);
        // On an error: was it a label? Then name the sample.
        let loss = loss.or_else(|e| batch.check_labels("label", self.num_classes).and(Err(e.into())))?;
        let metrics = match mode {
            Mode::Train => Vec::new(),
            Mode::Eval => {
                vec![("accuracy", logits.f_argmax(1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Double)?)]
            }
        };
        Ok(Output { loss, metrics })
    }
}

fn main() -> ExitCode {
    lockstep_trainer::main(Digits)
}
