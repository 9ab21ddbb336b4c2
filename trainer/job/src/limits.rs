use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// What a run may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// After this time the run stops with a checkpoint, from which it can be resumed. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_run_time: Option<Span>,
}
