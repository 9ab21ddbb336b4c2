use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// A folder that `lockstep launch --sync` brought along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    /// BLAKE3 digest of the packed folder, under which it lies in the run's storage.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
    /// Size of the unpacked files.
    pub size: ByteSize,
}
