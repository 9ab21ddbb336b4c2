//! Rotary positions.
//!
//! Source: Su et al., RoFormer, 2021; the halves of a head are paired as in Hugging Face's Llama.

use crate::task::TaskError;
use tch::{Device, Kind, Tensor};

/// Cosines and sines of the angles of all places.
#[derive(Debug)]
pub(super) struct Rotary {
    /// `[context, D]`
    cos: Tensor,
    /// `[context, D]`
    sin: Tensor,
}

impl Rotary {
    /// In single precision from the start, as published models were trained.
    pub(super) fn new(context: i64, head_size: i64, theta: f64, device: Device) -> Result<Self, TaskError> {
        let options = (Kind::Float, device);
        let exponents = Tensor::f_arange_start_step(0, head_size, 2, options)?.f_div_scalar(head_size)?;
        let speeds = Tensor::f_pow_scalar(theta, &exponents)?.f_reciprocal()?;
        let angles = Tensor::f_arange(context, options)?.f_outer(&speeds)?;
        let angles = Tensor::f_cat(&[&angles, &angles], 1)?;
        Ok(Self { cos: angles.f_cos()?, sin: angles.f_sin()? })
    }

    /// Turns queries or keys by the angles of their places.
    ///
    /// Shapes: `x` and result `[B, heads, T, D]`
    pub(super) fn turn(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        let (length, half) = (x.size()[2], x.size()[3] / 2);
        let (cos, sin) = (self.cos.f_narrow(0, 0, length)?, self.sin.f_narrow(0, 0, length)?);
        let (first, second) = (x.f_narrow(3, 0, half)?, x.f_narrow(3, half, half)?);
        let turned = Tensor::f_cat(&[&second.f_neg()?, &first], 3)?;
        Ok(x.f_mul(&cos)?.f_add(&turned.f_mul(&sin)?)?)
    }

    /// Handles on the same tensors.
    pub(super) fn share(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }
}
