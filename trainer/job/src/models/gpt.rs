use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A decoder-only transformer that learns to predict the next token. The defaults are the smallest GPT-2; with norm: rms,
/// activation: swiglu, positions: rotary and bias: false it is a Llama, and with qkvBias: true besides a Qwen2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Gpt {
    /// Blocks of attention and MLP, one after another. Unit: layers. Default: 12.
    #[schemars(range(min = 1), extend("x-unit" = "layers"))]
    pub layers: u32,
    /// Attention heads of a layer; they share `width` evenly. Unit: heads. Default: 12.
    #[schemars(range(min = 1), extend("x-unit" = "heads"))]
    pub heads: u32,
    /// Heads that have keys and values of their own, each for the same number of `heads` (grouped-query attention). Unit:
    /// heads. Default: heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "heads"))]
    pub kv_heads: Option<u32>,
    /// Width of the embeddings and of what flows between layers. Unit: features. Default: 768.
    #[schemars(range(min = 1), extend("x-unit" = "features"))]
    pub width: u32,
    /// The longest window that the model can read; windows of the data hold one token more, the last to be predicted. Unit:
    /// tokens. Default: 1024.
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub context: u32,
    /// How many tokens there are, numbered from 0. Unit: tokens. Default: one more than the largest in the training data, as
    /// `lockstep.ranges.tokens` of its index says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub vocab: Option<u32>,
    /// Width inside the MLP. Unit: features. Default: 4 x width; with swiglu 8/3 x width, rounded up to a multiple of 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "features"))]
    pub mlp_width: Option<u32>,
    /// Probability of dropping an embedding, an attention weight or what a layer adds, during training. Default: 0.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// What keeps activations in range, before attention, before the MLP and at the end. Default: layer.
    pub norm: Norm,
    /// Added to the variance by `norm`, so that it is not divided by 0. Default: 1e-5.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub norm_eps: f64,
    /// Non-linearity of the MLP. Default: gelu.
    pub activation: GptActivation,
    /// How the model knows where a token stands. Default: learned.
    pub positions: Positions,
    /// Base of the wavelengths of rotary positions; larger for longer contexts. Default: 10000.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rope_theta: f64,
    /// Whether linear layers and layer norms add a bias. Default: true.
    pub bias: bool,
    /// Whether queries, keys and values get a bias. Default: bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qkv_bias: Option<bool>,
    /// Whether the embedding of the tokens also makes the logits; otherwise there is a matrix of its own for them. Default:
    /// true.
    pub tied: bool,
    /// What the backward pass computes again, so that it needn't be kept until then: less memory for about a third more work,
    /// on CPUs for more, and the same result. It may change between launches. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<Recompute>,
}

impl Default for Gpt {
    fn default() -> Self {
        Self {
            layers: 12,
            heads: 12,
            kv_heads: None,
            width: 768,
            context: 1024,
            vocab: None,
            mlp_width: None,
            dropout: 0.0,
            norm: Norm::default(),
            norm_eps: 1e-5,
            activation: GptActivation::default(),
            positions: Positions::default(),
            rope_theta: 10_000.0,
            bias: true,
            qkv_bias: None,
            tied: true,
            recompute: None,
        }
    }
}

/// What keeps activations in range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Norm {
    /// mean 0 and variance 1, as GPT-2
    #[default]
    Layer,
    /// mean square 1, as Llama
    Rms,
}

/// The non-linearity of a transformer's MLP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum GptActivation {
    /// x Φ(x), by the approximation with tanh, as GPT-2
    #[default]
    Gelu,
    /// x σ(x), times a second linear layer, as Llama
    Swiglu,
}

/// What is computed again in backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Recompute {
    /// each block, of which only the input is kept
    Block,
}

/// How a transformer knows where a token stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Positions {
    /// a vector for each place is added to the embedding, as GPT-2
    #[default]
    Learned,
    /// queries and keys are turned by angles that grow with the place, as Llama
    Rotary,
}
