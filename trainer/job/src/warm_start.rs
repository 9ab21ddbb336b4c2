use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RunName;

/// Whose parameters this run begins with: those of another run in the same storage, or published weights. Optimizer state,
/// step, seed and place in the data are not taken over.
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
    /// Safetensors files that somebody published, with the names of this model's parameters. Their content is recorded: a
    /// fault before the first checkpoint begins with the same, or ends the run.
    Weights {
        /// A `.safetensors` file, or a folder with `model.safetensors`, or with `model.safetensors.index.json` and the files
        /// that it names: a path relative to the job file, or a `file://`, `s3://`, `gs://`, `az://` or `abfss://` URI.
        #[schemars(length(min = 1), extend("examples" = ["gpt2/model.safetensors", "s3://bucket/llama"]))]
        uri: String,
    },
}

impl WarmStart {
    /// Where published weights are; none where it begins with another run.
    pub fn uri(&self) -> Option<&String> {
        match self {
            Self::Weights { uri } => Some(uri),
            Self::Run { .. } | Self::Previous {} => None,
        }
    }
}
