//! The built-in `kind: mlp`: a classifier of small images or vectors.
//!
//! Reads the columns `x` and `label`. Each input is standardised to mean 0 and variance 1, so any range of pixel
//! values will do; there are no statistics of the dataset to keep.

use super::classify;
use super::layers::Linear;
use crate::task::{Batch, Model, Outputs, Score, Setup, Task, TaskError};
use lockstep_job::{Activation, Mlp};
use tch::{Kind, Tensor, nn};

const INPUT: &str = "x";

impl Task for Mlp {
    fn columns(&self) -> Option<Vec<&str>> {
        Some(vec![INPUT, classify::LABEL])
    }

    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let num_classes = classify::num_classes(setup)?;
        let num_inputs = setup.columns.column(INPUT)?.size().iter().skip(1).product();
        let mut widths = vec![num_inputs];
        widths.extend(self.hidden.iter().map(|&width| i64::from(width)));
        widths.push(num_classes);
        let layers = (widths.windows(2).enumerate())
            .map(|(i, w)| Linear::new(&(root / "layers" / i), w[0], w[1]))
            .collect::<Result<_, TaskError>>()?;
        Ok(Box::new(Classifier { layers, num_inputs, num_classes, spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Classifier {
    layers: Vec<Linear>,
    num_inputs: i64,
    num_classes: i64,
    spec: Mlp,
}

impl Classifier {
    fn logits(&self, batch: &Batch, is_training: bool) -> Result<Tensor, TaskError> {
        let shape = [-1, self.num_inputs];
        let x = batch.column(INPUT)?.f_view(shape)?.f_to_kind(Kind::Float)?;
        let mut x = x.f_layer_norm([self.num_inputs], None::<Tensor>, None::<Tensor>, 1e-5, false)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.layers.len() {
                x = match self.spec.activation {
                    Activation::Gelu => x.f_gelu("none")?,
                    Activation::Tanh => x.f_tanh()?,
                    _ => x.f_relu()?,
                };
                if self.spec.dropout > 0.0 && is_training {
                    x = x.f_dropout(self.spec.dropout, true)?;
                }
            }
        }
        Ok(x)
    }
}

impl Model for Classifier {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        classify::loss(&self.logits(batch, true)?, batch, self.num_classes, 0.0)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        Ok(Outputs::new([(classify::LOGITS, self.logits(batch, false)?)]))
    }

    fn flops_per_item(&self) -> Option<f64> {
        Some(6.0 * self.layers.iter().map(Linear::num_weights).sum::<usize>() as f64)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        classify::score(outputs, batch, self.num_classes)
    }
}
