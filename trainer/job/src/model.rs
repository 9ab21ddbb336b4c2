use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is trained; `kind` names the family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Model {
    /// A multilayer perceptron for classification; its input and output widths come from the data.
    Mlp {
        /// Widths of the hidden layers, from input to output. Unit: neurons. Default: [], one linear layer.
        #[serde(default)]
        #[schemars(inner(range(min = 1)), extend("x-unit" = "neurons"))]
        hidden: Vec<u32>,
        /// Probability of dropping a hidden activation during training. Default: 0.
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        dropout: f64,
        /// Non-linearity after each hidden layer. Default: relu.
        #[serde(default)]
        activation: Activation,
    },
    /// The task of the binary that `worker` names.
    Custom {
        /// Passed to the task unchanged. Default: null.
        #[serde(default)]
        config: serde_json::Value,
    },
}

/// A non-linearity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Activation {
    /// max(0, x)
    #[default]
    Relu,
    /// x Φ(x), exact
    Gelu,
    /// tanh(x)
    Tanh,
}
