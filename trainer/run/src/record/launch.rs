use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `launches/<launch>.json`: a launch got as far as its first step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Its name.
    pub launch: String,
    /// When it was asked for, as far as its agents know.
    pub launched_at: Timestamp,
    /// When its first step was done.
    pub first_step_at: Timestamp,
    /// The time between the two, in seconds.
    pub first_step_seconds: f64,
}
