//! The built-in `kind: mlp`: a classifier of small images or vectors.
//!
//! Reads the columns `x` and `label`. Each input is standardised to mean 0 and variance 1, so any range of pixel
//! values will do; there are no statistics of the dataset to keep.

use crate::task::{Batch, Mode, Model, Output, Setup, Task, TaskError};
use lockstep_job::Activation;
use tch::{Kind, Reduction, Tensor, nn};

const INPUT: &str = "x";
const LABEL: &str = "label";

/// Far more than any classifier has: what an index says beyond it is wrong, and a layer of that width fills the memory.
const MAX_CLASSES: i64 = 1 << 20;

/// No label is ignored: libtorch's default of -100 would pass silently.
const NO_IGNORED_LABEL: i64 = i64::MIN;

/// Settings of the job file's `model`.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// Widths of the hidden layers.
    pub hidden: Vec<u32>,
    /// Probability to drop a hidden activation while training.
    pub dropout: f64,
    /// Non-linearity after each hidden layer.
    pub activation: Activation,
}

impl Task for Mlp {
    fn columns(&self) -> Option<Vec<&str>> {
        Some(vec![INPUT, LABEL])
    }

    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let num_classes = setup.num_classes.ok_or(TaskError::NoClasses)?;
        if num_classes > MAX_CLASSES {
            return Err(TaskError::TooManyClasses { num_classes, most: MAX_CLASSES });
        }
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

/// Weight `[out, in]` and bias `[out]`, both uniform in ±1/√in as in `torch.nn.Linear`.
#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(path: &nn::Path<'_>, num_inputs: i64, num_outputs: i64) -> Result<Self, TaskError> {
        let bound = 1.0 / (num_inputs as f64).sqrt();
        Ok(Self {
            weight: path.f_uniform("weight", &[num_outputs, num_inputs], -bound, bound)?,
            bias: path.f_uniform("bias", &[num_outputs], -bound, bound)?,
        })
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
    fn logits(&self, input: &Tensor, mode: Mode) -> Result<Tensor, TaskError> {
        let shape = [-1, self.num_inputs];
        let x = input.f_view(shape)?.f_to_kind(Kind::Float)?;
        let mut x = x.f_layer_norm([self.num_inputs], None::<Tensor>, None::<Tensor>, 1e-5, false)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = x.f_linear(&layer.weight, Some(&layer.bias))?;
            if i + 1 < self.layers.len() {
                x = match self.spec.activation {
                    Activation::Gelu => x.f_gelu("none")?,
                    Activation::Tanh => x.f_tanh()?,
                    _ => x.f_relu()?,
                };
                if self.spec.dropout > 0.0 && mode == Mode::Train {
                    x = x.f_dropout(self.spec.dropout, true)?;
                }
            }
        }
        Ok(x)
    }
}

impl Model for Classifier {
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<Output, TaskError> {
        let logits = self.logits(batch.column(INPUT)?, mode)?;
        let labels = batch.column(LABEL)?.f_view([-1])?.f_to_kind(Kind::Int64)?;
        let loss =
            logits.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, NO_IGNORED_LABEL, 0.0);
        let loss = match loss {
            Ok(loss) => loss,
            Err(e) => {
                batch.check_labels(LABEL, self.num_classes)?;
                return Err(e.into());
            }
        };
        let metrics = match mode {
            Mode::Train => Vec::new(),
            Mode::Eval => {
                let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Double)?;
                vec![("accuracy", correct)]
            }
        };
        Ok(Output { loss, metrics })
    }
}
