//! The built-in `kind: gpt`: a decoder-only transformer that predicts the next token.
//!
//! Reads the column `tokens`, whole numbers of shape `[len, T + 1]`: the first T of a window are read, and of each the next
//! one is predicted. Losses and scores are sums over tokens.
//!
//! Parameters have the names and shapes of Hugging Face's `GPT2LMHeadModel`, or of its `LlamaForCausalLM` and
//! `Qwen2ForCausalLM`, see [`Layout`](shape::Layout). One thing is different: the matrices of the vocabulary have rows of
//! zeros at the end, so that their number is a multiple of 64, which GPUs multiply faster. No token has such a row, its logit
//! is cut off, its gradient is zero; published weights don't hold it. [`load_weights`](crate::load_weights) fills the first rows,
//! and who exports weights takes the first [`vocab`](shape::Shape::vocab) of them.
//!
//! Shapes in this folder: B samples, T tokens read, W `width`, H `heads`, K `kvHeads`, D = W / H.

mod attention;
mod block;
mod layer;
mod layers;
mod loss;
mod published;
mod rotary;
mod shape;
mod tokens;

use super::classify;
use crate::task::{Batch, Items, Model, Outputs, Score, Setup, Task, TaskError, Unit};
use block::Block;
use layer::Layer;
use layers::{Dropout, Norm, embedding};
use lockstep_c10d::return_freed_buffers;
use lockstep_job::{Gpt, Positions, Recompute};
use rotary::Rotary;
use shape::Shape;
use tch::{Device, Kind, Tensor, nn};
use tokens::Windows;

/// Standard deviation of the initial weights of GPT-2.
const INIT_STD: f64 = 0.02;

impl Task for Gpt {
    fn columns(&self) -> Option<Vec<&str>> {
        Some(vec![tokens::COLUMN])
    }

    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let shape = Shape::of(self, setup.vocab)?;
        let windows = Windows { context: shape.context, vocab: shape.vocab, device: setup.device };
        let flops = shape.flops(self, windows.length(setup.columns)?);
        Ok(Box::new(Transformer::new(self, shape, windows, flops, root)?))
    }
}

#[derive(Debug)]
struct Transformer {
    shape: Shape,
    windows: Windows,
    /// `[padded vocab, W]`
    embedding: Tensor,
    /// `[context, W]`, where positions are learned.
    positions: Option<Tensor>,
    blocks: Vec<Layer>,
    norm: Norm,
    /// `[padded vocab, W]`; the embedding itself, where they are tied.
    head: Tensor,
    dropout: Dropout,
    tied: bool,
    /// Of a token.
    flops: f64,
}

impl Transformer {
    fn new(
        spec: &Gpt,
        shape: Shape,
        windows: Windows,
        flops: f64,
        root: &nn::Path<'_>,
    ) -> Result<Self, TaskError> {
        let names = shape.layout.names();
        let body = root / names.body;
        let vocab = [shape.vocab, shape.padded_vocab, shape.width];
        let embedding = embedding(&(&body / names.embedding), vocab)?;
        let (positions, rotary) = match spec.positions {
            Positions::Rotary => {
                let angles = Rotary::new(shape.context, shape.head_size, spec.rope_theta, windows.device)?;
                (None, Some(angles))
            }
            _ => {
                let path = &body / names.positions;
                (Some(path.f_randn("weight", &[shape.context, shape.width], 0.0, INIT_STD)?), None)
            }
        };
        let recomputes = spec.recompute == Some(Recompute::Block);
        if recomputes && windows.device == Device::Cpu {
            // Else what is not kept would not be there for others either.
            return_freed_buffers();
        }
        let blocks = (0..spec.layers)
            .map(|i| {
                let block = Block::new(&(&body / names.blocks / i), spec, &shape, rotary.as_ref())?;
                Ok(Layer::new(block, recomputes))
            })
            .collect::<Result<_, TaskError>>()?;
        let norm = Norm::new(&(&body / names.norm), spec, shape.width)?;
        let head = match spec.tied {
            true => embedding.shallow_clone(),
            false => layers::embedding(&(root / HEAD), vocab)?,
        };
        let dropout = Dropout(spec.dropout);
        Ok(Self { shape, windows, embedding, positions, blocks, norm, head, dropout, tied: spec.tied, flops })
    }

    /// What the logits are made of.
    ///
    /// Shapes: `tokens` `[B, T]`, result `[B, T, W]`
    fn hidden(&self, tokens: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        let mut x = Tensor::f_embedding(&self.embedding, tokens, -1, false, false)?;
        if let Some(positions) = &self.positions {
            x = x.f_add(&positions.f_narrow(0, 0, tokens.size()[1])?)?;
        }
        x = self.dropout.apply(x, is_training)?;
        for block in &self.blocks {
            x = block.forward(&x, is_training)?;
        }
        self.norm.forward(&x)
    }
}

impl Model for Transformer {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        let tokens = self.windows.tokens(batch)?;
        let hidden = self.hidden(&tokens.inputs, true)?;
        loss::of_hidden(&hidden, &self.head, &tokens.targets, &self.shape)
    }

    /// `logits`, of the token that comes next. Shape: `[len, T, vocab]`
    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        let hidden = self.hidden(&self.windows.tokens(batch)?.inputs, false)?;
        let logits = hidden.f_linear(&self.head, None::<&Tensor>)?.f_narrow(2, 0, self.shape.vocab)?;
        Ok(Outputs::new([(classify::LOGITS, logits)]))
    }

    /// The loss, and `accuracy`: how often the largest logit is that of the token that comes.
    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        let logits = outputs.get(classify::LOGITS)?;
        let targets = self.windows.tokens(batch)?.targets;
        let loss = loss::of_logits(logits, &targets)?;
        let correct = logits.f_argmax(-1, false)?.f_eq_tensor(&targets)?.f_sum(Kind::Double)?;
        Ok(Score { loss, metrics: vec![("accuracy", correct)] })
    }

    fn items(&self, batch: &Batch) -> Result<Items, TaskError> {
        Ok(Items::PerSample(self.windows.length(batch)?.cast_unsigned()))
    }

    fn unit(&self) -> Unit {
        Unit::Token
    }

    fn flops_per_item(&self) -> Option<f64> {
        Some(self.flops)
    }

    fn parameter_of(&self, published: &str) -> Option<String> {
        published::parameter_of(published, self.shape.layout, self.tied)
    }

    fn published_rows(&self, parameter: &str) -> Option<i64> {
        let names = self.shape.layout.names();
        let is_embedding = parameter == format!("{}.{}.weight", names.body, names.embedding);
        (is_embedding || parameter == format!("{HEAD}.weight")).then_some(self.shape.vocab)
    }
}

const HEAD: &str = "lm_head";

#[cfg(test)]
mod tests;
