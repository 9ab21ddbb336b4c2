use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Interval;

/// What a run reports while it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Log {
    /// How often metrics are recorded and shown: `50 steps` or `1 epochs`. Default: 50 steps.
    pub every: Interval,
    /// The least important messages that are logged. Default: info.
    pub level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self { every: Interval::Steps(50), level: Level::Info }
    }
}

/// How important a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Something went wrong.
    Error,
    /// Something may go wrong.
    Warn,
    /// Something happened.
    #[default]
    Info,
    /// Details for whoever debugs the run.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The level as log filters write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
