use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Interval;

/// Evaluation on `data.eval`. Without that dataset there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Eval {
    /// How often to evaluate, in addition to the end: `200 steps` or `1 epochs`. Default: 1 epochs.
    pub every: Interval,
    /// Samples per rank and forward pass. Unit: samples. Default: train.microBatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "samples"))]
    pub micro_batch: Option<u32>,
}

impl Default for Eval {
    fn default() -> Self {
        Self { every: Interval::Epochs(1), micro_batch: None }
    }
}
