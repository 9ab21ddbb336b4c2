//! The sizes of a model, once all defaults are known.

use crate::task::TaskError;
use lockstep_job::{Gpt, GptActivation, Norm, Positions};

/// GPUs multiply matrices faster whose sides are multiples of this.
const MULTIPLE: i64 = 64;

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) heads: i64,
    pub(super) kv_heads: i64,
    pub(super) width: i64,
    pub(super) head_size: i64,
    pub(super) mlp_width: i64,
    pub(super) context: i64,
    /// Tokens that there are.
    pub(super) vocab: i64,
    /// Rows of the matrices of the vocabulary.
    pub(super) padded_vocab: i64,
    pub(super) layout: Layout,
}

impl Shape {
    /// `in_data` is the vocabulary that the data names.
    ///
    /// # Errors
    /// [`TaskError::NoVocabulary`] where neither the job nor the data says how many tokens there are; [`TaskError::Config`]
    /// where heads don't share the width evenly, which the rules of a job file exclude.
    pub(super) fn of(spec: &Gpt, in_data: Option<i64>) -> Result<Self, TaskError> {
        let (width, heads) = (i64::from(spec.width), i64::from(spec.heads));
        let kv_heads = spec.kv_heads.map_or(heads, i64::from);
        if heads < 1 || kv_heads < 1 || width % heads != 0 || heads % kv_heads != 0 {
            let reason =
                format!("{heads} heads, {kv_heads} of them with keys, can't share the width {width}");
            return Err(TaskError::Config { reason });
        }
        let vocab = spec.vocab.map(i64::from).or(in_data).ok_or(TaskError::NoVocabulary)?;
        let default_mlp_width = match spec.activation {
            GptActivation::Swiglu => round_up((width * 8).unsigned_abs().div_ceil(3).cast_signed()),
            _ => 4 * width,
        };
        Ok(Self {
            heads,
            kv_heads,
            width,
            head_size: width / heads,
            mlp_width: spec.mlp_width.map_or(default_mlp_width, i64::from),
            context: spec.context.into(),
            vocab,
            padded_vocab: round_up(vocab),
            layout: Layout::of(spec),
        })
    }

    /// Features of all keys of a token, and of all values.
    pub(super) fn kv_width(&self) -> i64 {
        self.kv_heads * self.head_size
    }

    /// Floating-point operations of a forward and a backward pass for one token, of windows of `length`. Attention counts as
    /// if every token saw the whole window, as usual, though it sees half of it.
    ///
    /// Source: Chowdhery and others, PaLM, appendix B.
    pub(super) fn flops(&self, spec: &Gpt, length: i64) -> f64 {
        let width = self.width;
        let attention = 2 * width * width + 2 * width * self.kv_width();
        let num_matrices = if spec.activation == GptActivation::Swiglu { 3 } else { 2 };
        let block = attention + num_matrices * width * self.mlp_width;
        let layers = i64::from(spec.layers);
        (6 * (layers * block + width * self.vocab) + 12 * layers * width * length) as f64
    }
}

fn round_up(size: i64) -> i64 {
    (size + MULTIPLE - 1) / MULTIPLE * MULTIPLE
}

/// How parameters are named and laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As Hugging Face's `GPT2LMHeadModel`: weights are `[in, out]`, and one makes queries, keys and values. For models with
    /// layer norm, gelu and learned positions.
    Gpt2,
    /// As its `LlamaForCausalLM` and `Qwen2ForCausalLM`: weights are `[out, in]`, each for one purpose. For all others; a
    /// mixture that neither of these classes knows has the same names for the same things.
    Llama,
}

impl Layout {
    fn of(spec: &Gpt) -> Self {
        match (spec.norm, spec.activation, spec.positions) {
            (Norm::Layer, GptActivation::Gelu, Positions::Learned) => Self::Gpt2,
            _ => Self::Llama,
        }
    }

    pub(super) fn names(self) -> &'static Names {
        match self {
            Self::Gpt2 => &GPT2,
            Self::Llama => &LLAMA,
        }
    }
}

/// What the parts of a model are called.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) body: &'static str,
    pub(super) embedding: &'static str,
    pub(super) positions: &'static str,
    pub(super) blocks: &'static str,
    pub(super) norm: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) attention: &'static str,
    pub(super) attention_out: &'static str,
    pub(super) mlp_norm: &'static str,
    pub(super) mlp_up: &'static str,
    pub(super) mlp_down: &'static str,
}

const GPT2: Names = Names {
    body: "transformer",
    embedding: "wte",
    positions: "wpe",
    blocks: "h",
    norm: "ln_f",
    attention_norm: "ln_1",
    attention: "attn",
    attention_out: "c_proj",
    mlp_norm: "ln_2",
    mlp_up: "c_fc",
    mlp_down: "c_proj",
};

const LLAMA: Names = Names {
    body: "model",
    embedding: "embed_tokens",
    positions: "embed_positions",
    blocks: "layers",
    norm: "norm",
    attention_norm: "input_layernorm",
    attention: "self_attn",
    attention_out: "o_proj",
    mlp_norm: "post_attention_layernorm",
    mlp_up: "up_proj",
    mlp_down: "down_proj",
};
