use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RunName;

/// A run in the same storage whose parameters this one begins with; `kind` says which run. Optimizer state, step, seed and
/// place in the data are not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WarmStart {
    /// The run with this name.
    Run {
        /// Its name.
        name: RunName,
        /// The step of the checkpoint to use. Unit: steps. Default: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1), extend("x-unit" = "steps"))]
        step: Option<u64>,
    },
    /// The last checkpoint of the schedule's most recent run that is done. The first run of a schedule begins with the
    /// parameters that the seed gives.
    Previous {},
}
