//! What the larger parts are made of.

use super::INIT_STD;
use super::shape::Layout;
use crate::task::TaskError;
use lockstep_job::{self as job, Gpt};
use tch::{Tensor, nn};

/// The weight of a vocabulary, normal with [`INIT_STD`]; rows beyond the vocabulary are zero, and stay so: no gradient
/// reaches them, and zeros don't decay.
///
/// Shapes: `[vocab, padded vocab, W]` gives `[padded vocab, W]`
pub(super) fn embedding(path: &nn::Path<'_>, [vocab, padded, width]: [i64; 3]) -> Result<Tensor, TaskError> {
    let weight = path.f_randn("weight", &[padded, width], 0.0, INIT_STD)?;
    let _no_grad = tch::no_grad_guard();
    let _ = weight.f_narrow(0, vocab, padded - vocab)?.f_zero_()?;
    Ok(weight)
}

/// A matrix, and a bias that starts at zero.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    layout: Layout,
}

/// What a [`Linear`] is made by.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearSpec {
    pub(super) inputs: i64,
    pub(super) outputs: i64,
    pub(super) bias: bool,
    /// Standard deviation of the initial weights.
    pub(super) std: f64,
    pub(super) layout: Layout,
}

impl Linear {
    pub(super) fn new(path: &nn::Path<'_>, spec: LinearSpec) -> Result<Self, TaskError> {
        let LinearSpec { inputs, outputs, bias, std, layout } = spec;
        let shape = match layout {
            Layout::Gpt2 => [inputs, outputs],
            Layout::Llama => [outputs, inputs],
        };
        Ok(Self {
            weight: path.f_randn("weight", &shape, 0.0, std)?,
            bias: if bias { Some(path.f_zeros("bias", &[outputs])?) } else { None },
            layout,
        })
    }

    /// Shapes: `x` `[.., in]`, result `[.., out]`
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        Ok(match self.layout {
            Layout::Gpt2 => x.f_linear(&self.weight.f_transpose(0, 1)?, self.bias.as_ref())?,
            Layout::Llama => x.f_linear(&self.weight, self.bias.as_ref())?,
        })
    }
}

/// Keeps activations in range.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    kind: job::Norm,
    eps: f64,
    width: i64,
}

impl Norm {
    pub(super) fn new(path: &nn::Path<'_>, spec: &Gpt, width: i64) -> Result<Self, TaskError> {
        let has_bias = spec.norm == job::Norm::Layer && spec.bias;
        Ok(Self {
            weight: path.f_ones("weight", &[width])?,
            bias: if has_bias { Some(path.f_zeros("bias", &[width])?) } else { None },
            kind: spec.norm,
            eps: spec.norm_eps,
            width,
        })
    }

    /// Shapes: `x` and result `[.., W]`
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        let (weight, bias) = (Some(&self.weight), self.bias.as_ref());
        Ok(match self.kind {
            job::Norm::Rms => x.f_rms_norm([self.width], weight, self.eps)?,
            _ => x.f_layer_norm([self.width], weight, bias, self.eps, false)?,
        })
    }
}

/// Zeros a share of the elements, in training only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout(pub(super) f64);

impl Dropout {
    /// The share that is dropped.
    pub(super) fn rate(self, is_training: bool) -> f64 {
        if is_training { self.0 } else { 0.0 }
    }

    pub(super) fn apply(self, x: Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        match self.rate(is_training) {
            rate if rate > 0.0 => Ok(x.f_dropout(rate, true)?),
            _ => Ok(x),
        }
    }
}
