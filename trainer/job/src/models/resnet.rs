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
    /// Of which samples each normalisation takes mean and variance in training. Default: perRank.
    #[serde(default, skip_serializing_if = "BatchNorm::is_default")]
    pub batch_norm: BatchNorm,
}

/// Of which samples a batch normalisation takes mean and variance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum BatchNorm {
    /// of each rank's own micro batch, as PyTorch's DDP
    #[default]
    PerRank,
    /// of the micro batches of all ranks together, as PyTorch's SyncBatchNorm; ranks wait for one another twice in each layer
    Synced,
}

impl BatchNorm {
    // Records of jobs that say nothing of it stay as they were.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Resnet {
    /// The depths that there are.
    pub const DEPTHS: [u32; 7] = [18, 20, 32, 34, 44, 50, 56];
}

fn eighteen() -> u32 {
    18
}
