use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// A folder that was brought along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    /// blake3 of the packed folder, which lies in the run's storage under it.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
    /// Size of its files once unpacked.
    pub size: ByteSize,
}
