//! What is trained: one file for each family of models. The worker builds them, in `trainer/src/models`.

mod gpt;
mod mlp;
mod resnet;

pub use gpt::{Gpt, GptActivation, Norm, Positions, Recompute};
pub use mlp::{Activation, Mlp};
pub use resnet::{BatchNorm, Resnet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is trained; `kind` names the family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Model {
    /// A multilayer perceptron for classification; its input and output widths come from the data.
    Mlp(Mlp),
    /// A residual network for the classification of pictures; its number of classes and of colours comes from the data.
    Resnet(Resnet),
    /// A decoder-only transformer that learns to predict the next token. The defaults are the smallest GPT-2; with
    /// norm: rms, activation: swiglu, positions: rotary and bias: false it is a Llama, and with qkvBias: true besides a
    /// Qwen2.
    Gpt(Gpt),
    /// The task of the binary that `worker` names.
    Custom(Custom),
}

/// The task of the binary that `worker` names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Custom {
    /// Passed to the task unchanged. Default: null.
    #[serde(default)]
    pub config: serde_json::Value,
}
