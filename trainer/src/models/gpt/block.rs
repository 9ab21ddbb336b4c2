//! One layer: attention and an MLP, each of which adds to what flows past it.

use super::INIT_STD;
use super::attention::Attention;
use super::layers::{Dropout, Linear, LinearSpec, Norm};
use super::rotary::Rotary;
use super::shape::{Layout, Shape};
use crate::task::TaskError;
use lockstep_job::{Gpt, GptActivation};
use tch::{Tensor, nn};

#[derive(Debug)]
pub(super) struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
    dropout: Dropout,
}

impl Block {
    pub(super) fn new(
        path: &nn::Path<'_>,
        spec: &Gpt,
        shape: &Shape,
        rotary: Option<&Rotary>,
    ) -> Result<Self, TaskError> {
        let names = shape.layout.names();
        // All layers add twice to what flows past; so it starts as large whatever their number.
        let out_std = INIT_STD / (2.0 * f64::from(spec.layers)).sqrt();
        Ok(Self {
            attention_norm: Norm::new(&(path / names.attention_norm), spec, shape.width)?,
            attention: Attention::new(&(path / names.attention), spec, shape, rotary, out_std)?,
            mlp_norm: Norm::new(&(path / names.mlp_norm), spec, shape.width)?,
            mlp: Mlp::new(&(path / "mlp"), spec, shape, out_std)?,
            dropout: Dropout(spec.dropout),
        })
    }

    /// Shapes: `x` and result `[B, T, W]`
    pub(super) fn forward(&self, x: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        let mixed = self.attention.forward(&self.attention_norm.forward(x)?, is_training)?;
        let x = x.f_add(&self.dropout.apply(mixed, is_training)?)?;
        let made = self.mlp.forward(&self.mlp_norm.forward(&x)?)?;
        Ok(x.f_add(&self.dropout.apply(made, is_training)?)?)
    }
}

#[derive(Debug)]
struct Mlp {
    /// With swiglu: what decides how much of `up` passes.
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn new(path: &nn::Path<'_>, spec: &Gpt, shape: &Shape, out_std: f64) -> Result<Self, TaskError> {
        let &Shape { width, mlp_width, layout, .. } = shape;
        let names = layout.names();
        let widen = LinearSpec { inputs: width, outputs: mlp_width, bias: spec.bias, std: INIT_STD, layout };
        let narrow = LinearSpec { inputs: mlp_width, outputs: width, std: out_std, ..widen };
        let gate = match (spec.activation, layout) {
            (GptActivation::Swiglu, Layout::Llama) => Some(Linear::new(&(path / "gate_proj"), widen)?),
            _ => None,
        };
        let up = Linear::new(&(path / names.mlp_up), widen)?;
        Ok(Self { gate, up, down: Linear::new(&(path / names.mlp_down), narrow)? })
    }

    /// Shapes: `x` and result `[B, T, W]`
    fn forward(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        let up = self.up.forward(x)?;
        let inner = match &self.gate {
            Some(gate) => gate.forward(x)?.f_silu()?.f_mul(&up)?,
            None => up.f_gelu("tanh")?,
        };
        self.down.forward(&inner)
    }
}
