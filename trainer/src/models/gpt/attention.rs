//! Attention of each token to itself and to those before it.

use super::INIT_STD;
use super::layers::{Dropout, Linear, LinearSpec};
use super::rotary::Rotary;
use super::shape::{Layout, Shape};
use crate::task::TaskError;
use lockstep_job::Gpt;
use tch::{Tensor, nn};

#[derive(Debug)]
pub(super) struct Attention {
    qkv: Qkv,
    out: Linear,
    rotary: Option<Rotary>,
    dropout: Dropout,
    heads: i64,
    kv_heads: i64,
    head_size: i64,
}

/// What makes queries, keys and values.
#[derive(Debug)]
enum Qkv {
    /// All by one matrix, side by side.
    Fused(Linear, [i64; 3]),
    Split([Linear; 3]),
}

impl Qkv {
    fn new(path: &nn::Path<'_>, bias: bool, shape: &Shape) -> Result<Self, TaskError> {
        let (width, kv_width) = (shape.width, shape.kv_width());
        let linear = |name: &str, outputs| {
            let spec = LinearSpec { inputs: width, outputs, bias, std: INIT_STD, layout: shape.layout };
            Linear::new(&(path / name), spec)
        };
        Ok(match shape.layout {
            Layout::Gpt2 => Self::Fused(linear("c_attn", width + 2 * kv_width)?, [width, kv_width, kv_width]),
            Layout::Llama => Self::Split([
                linear("q_proj", width)?,
                linear("k_proj", kv_width)?,
                linear("v_proj", kv_width)?,
            ]),
        })
    }

    /// Shapes: `x` `[B, T, W]`, result three times `[B, T, heads x D]`
    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], TaskError> {
        match self {
            Self::Fused(linear, [q, k, v]) => {
                let all = linear.forward(x)?;
                Ok([all.f_narrow(2, 0, *q)?, all.f_narrow(2, *q, *k)?, all.f_narrow(2, q + k, *v)?])
            }
            Self::Split([q, k, v]) => Ok([q.forward(x)?, k.forward(x)?, v.forward(x)?]),
        }
    }
}

impl Attention {
    /// `out_std` is the standard deviation of the initial weights of the layer that writes the result.
    pub(super) fn new(
        path: &nn::Path<'_>,
        spec: &Gpt,
        shape: &Shape,
        rotary: Option<&Rotary>,
        out_std: f64,
    ) -> Result<Self, TaskError> {
        let &Shape { width, heads, kv_heads, head_size, layout, .. } = shape;
        let qkv = Qkv::new(path, spec.qkv_bias.unwrap_or(spec.bias), shape)?;
        let out = LinearSpec { inputs: width, outputs: width, bias: spec.bias, std: out_std, layout };
        Ok(Self {
            qkv,
            out: Linear::new(&(path / layout.names().attention_out), out)?,
            rotary: rotary.map(Rotary::share),
            dropout: Dropout(spec.dropout),
            heads,
            kv_heads,
            head_size,
        })
    }

    /// Shapes: `x` and result `[B, T, W]`
    pub(super) fn forward(&self, x: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        let size = x.size();
        let split = |x: &Tensor, heads| -> Result<Tensor, TaskError> {
            Ok(x.f_reshape([size[0], size[1], heads, self.head_size])?.f_transpose(1, 2)?)
        };
        let [q, k, v] = self.qkv.forward(x)?;
        let (mut q, mut k) = (split(&q, self.heads)?, split(&k, self.kv_heads)?);
        let v = split(&v, self.kv_heads)?;
        if let Some(rotary) = &self.rotary {
            (q, k) = (rotary.turn(&q)?, rotary.turn(&k)?);
        }
        let (dropout, is_grouped) = (self.dropout.rate(is_training), self.kv_heads < self.heads);
        let mask = None::<&Tensor>;
        let mixed =
            Tensor::f_scaled_dot_product_attention(&q, &k, &v, mask, dropout, true, None, is_grouped)?;
        self.out.forward(&mixed.f_transpose(1, 2)?.f_reshape(size)?)
    }
}
