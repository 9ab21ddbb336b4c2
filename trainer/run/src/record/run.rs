use crate::RunUid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `run.json`: who this run is, written by whoever starts it first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// The run's identity.
    pub run_uid: RunUid,
    /// The run's name.
    pub name: String,
    /// When it was first started.
    pub created_at: Timestamp,
    /// Version of Lockstep that made it.
    pub version: String,
    /// The resolved job of the first start.
    pub job: serde_json::Value,
}
