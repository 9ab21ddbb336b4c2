//! The built-in `kind: resnet`: residual networks for pictures.
//!
//! Reads the columns `image`, numbers of shape `[channels, height, width]`, and `label`. Parameters have torchvision's names.
//!
//! Source: He and others, Deep Residual Learning for Image Recognition; from 18 to 50 layers in torchvision's form, which
//! strides in a bottleneck's middle convolution.

mod block;
mod flops;
#[cfg(test)]
mod tests;

use super::classify;
use super::layers::{BatchNorm, Conv, Linear};
use crate::task::{Batch, Model, Outputs, Score, Setup, Task, TaskError};
use block::{Block, Form, Kind};
use lockstep_job::Resnet;
use tch::{Device, Kind as Number, Tensor, nn};

const IMAGE: &str = "image";

/// The shape of a whole network.
struct Shape {
    /// Channels behind the first convolution.
    width: i64,
    /// Blocks of each stage; each stage but the first halves the sides and doubles the channels.
    blocks: Vec<u32>,
    form: Form,
    /// Whether the first convolution is one for large pictures: 7 x 7 with a stride, and a pooling behind it.
    has_large_stem: bool,
}

impl Shape {
    fn of(depth: u32) -> Result<Self, TaskError> {
        let large =
            |blocks: [u32; 4], form| Self { width: 64, blocks: blocks.into(), form, has_large_stem: true };
        Ok(match depth {
            18 => large([2, 2, 2, 2], Form { kind: Kind::Basic, projects: true }),
            34 => large([3, 4, 6, 3], Form { kind: Kind::Basic, projects: true }),
            50 => large([3, 4, 6, 3], Form { kind: Kind::Bottleneck, projects: true }),
            20 | 32 | 44 | 56 => Self {
                width: 16,
                blocks: vec![(depth - 2) / 6; 3],
                form: Form { kind: Kind::Basic, projects: false },
                has_large_stem: false,
            },
            other => {
                let reason = format!("there is no depth {other}; take one of {:?}", Resnet::DEPTHS);
                return Err(TaskError::Config { reason });
            }
        })
    }
}

impl Task for Resnet {
    fn columns(&self) -> Option<Vec<&str>> {
        Some(vec![IMAGE, classify::LABEL])
    }

    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let num_classes = classify::num_classes(setup)?;
        let shape = Shape::of(self.depth)?;
        let (num_channels, sides) = match setup.columns.column(IMAGE)?.size()[..] {
            [_, channels, height, width] => (channels, [height, width]),
            ref other => {
                let sides = other.get(1..).unwrap_or_default();
                let reason = format!("it has shape {sides:?}, but a picture is [channels, height, width]");
                return Err(TaskError::Unreadable { column: IMAGE.to_owned(), reason });
            }
        };
        let (kernel, stride) = if shape.has_large_stem { (7, 2) } else { (3, 1) };
        let conv = Conv::new(&(root / "conv1"), num_channels, shape.width, kernel, stride)?;
        let norm = BatchNorm::new(&(root / "bn1"), setup.running, shape.width, 1.0, self.batch_norm)?;
        let (mut blocks, mut inputs) = (Vec::new(), shape.width);
        for (stage, count) in shape.blocks.iter().enumerate() {
            let path = root / format!("layer{}", stage + 1);
            let width = shape.width << stage;
            for i in 0..*count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let block = Block::new(&(&path / i), setup.running, shape.form, inputs, width, stride, self)?;
                inputs = shape.form.outputs(width);
                blocks.push(block);
            }
        }
        let out = Linear::new(&(root / "fc"), inputs, num_classes)?;
        let (has_large_stem, smoothing) = (shape.has_large_stem, self.label_smoothing);
        let flops = shape.flops(num_channels, sides, num_classes);
        Ok(Box::new(Network { conv, norm, has_large_stem, blocks, out, num_classes, smoothing, flops }))
    }
}

#[derive(Debug)]
struct Network {
    conv: Conv,
    norm: BatchNorm,
    has_large_stem: bool,
    blocks: Vec<Block>,
    out: Linear,
    num_classes: i64,
    smoothing: f64,
    /// Of a picture.
    flops: f64,
}

impl Network {
    fn logits(&self, batch: &Batch, is_training: bool) -> Result<Tensor, TaskError> {
        let image = laid_out(&batch.column(IMAGE)?.f_to_kind(Number::Float)?)?;
        let mut x = self.norm.forward(&self.conv.forward(&image)?, is_training)?.f_relu()?;
        if self.has_large_stem {
            x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, is_training)?;
        }
        self.out.forward(&x.f_mean_dim([2, 3].as_slice(), false, None)?)
    }
}

/// The pictures as convolutions of their device are fastest with: on CPUs a pixel's channels lie side by side (PyTorch's
/// `channels_last`), and every layer keeps what it is given. Weights stay in the plain order, which the reducer's buckets have.
fn laid_out(image: &Tensor) -> Result<Tensor, TaskError> {
    let &[len, channels, height, width] = image.size().as_slice() else { return Ok(image.shallow_clone()) };
    if image.device() != Device::Cpu {
        return Ok(image.shallow_clone());
    }
    let pixels = image.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // Explicit, because a permutation back would leave open what the order is where there is one channel.
    let strides = [height * width * channels, 1, width * channels, channels];
    Ok(pixels.f_as_strided([len, channels, height, width], strides, None)?)
}

impl Model for Network {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        classify::loss(&self.logits(batch, true)?, batch, self.num_classes, self.smoothing)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        Ok(Outputs::new([(classify::LOGITS, self.logits(batch, false)?)]))
    }

    fn flops_per_item(&self) -> Option<f64> {
        Some(self.flops)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        classify::score(outputs, batch, self.num_classes)
    }

    /// torchvision's count how many batches they have seen, which nothing here depends on.
    fn parameter_of(&self, published: &str) -> Option<String> {
        (!published.ends_with(".num_batches_tracked")).then(|| published.to_owned())
    }
}
