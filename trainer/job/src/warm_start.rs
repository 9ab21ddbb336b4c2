use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RunName;

/// A run of the same storage whose parameters this one begins with; `kind` says which. Its optimizer state, step, seed
/// and place in the data are not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WarmStart {
    /// The run of a name.
    Run {
        /// Its name.
        name: RunName,
        /// The step of its checkpoint. Unit: steps. Default: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1), extend("x-unit" = "steps"))]
        step: Option<u64>,
    },
    /// The run of the same schedule before this one, of those that were done: its last checkpoint. The first one begins
    /// with what the seed gives.
    Previous {},
}
