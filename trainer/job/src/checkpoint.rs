use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Cadence;

/// When checkpoints are written, and how many are kept. The end of a run and a stop always write one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Checkpoint {
    /// How often: by steps, such as `200 steps`, or by the clock, such as `5m`. Default: 1000 steps.
    pub every: Cadence,
    /// How many of the newest are kept; never fewer than 2. Unit: checkpoints. Default: 3.
    #[schemars(range(min = 2), extend("x-unit" = "checkpoints"))]
    pub keep_last: u32,
    /// How many saves in a row may fail before the run stops. Unit: saves. Default: 3.
    #[schemars(range(min = 1), extend("x-unit" = "saves"))]
    pub max_failures: u32,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { every: Cadence::Steps(1000), keep_last: 3, max_failures: 3 }
    }
}
