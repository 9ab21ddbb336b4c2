use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A residual network for the classification of pictures; its number of classes and of colours comes from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Resnet {
    /// Which network: 18, 34 and 50 are those for large pictures, with the parameters of torchvision's; 20, 32, 44 and 56 are
    /// those for small ones, such as CIFAR's. Unit: layers. Default: 18.
    #[serde(default = "eighteen")]
    #[schemars(extend("x-unit" = "layers", "enum" = [18, 20, 32, 34, 44, 50, 56]))]
    pub depth: u32,
    /// Share of a label's weight in the loss that is spread over all classes. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// Whether each residual branch begins at nothing, by a zero as the weight of its last normalisation. Default: false.
    #[serde(default)]
    pub zero_init_residual: bool,
}

impl Resnet {
    /// The depths that there are.
    pub const DEPTHS: [u32; 7] = [18, 20, 32, 34, 44, 50, 56];
}

fn eighteen() -> u32 {
    18
}
