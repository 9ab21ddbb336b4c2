use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A multilayer perceptron for classification; its input and output widths come from the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Mlp {
    /// Widths of the hidden layers, from input to output. Unit: neurons. Default: [], one linear layer.
    #[serde(default)]
    #[schemars(inner(range(min = 1)), extend("x-unit" = "neurons"))]
    pub hidden: Vec<u32>,
    /// Probability of dropping a hidden activation during training. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Non-linearity after each hidden layer. Default: relu.
    #[serde(default)]
    pub activation: Activation,
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
