use crate::{Incarnation, NodeId, RunUid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `nodes/<node>/<incarnation>.json`: an agent says that it lives and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// The run it belongs to.
    pub run_uid: RunUid,
    /// The node.
    pub node: NodeId,
    /// This life of its agent.
    pub incarnation: Incarnation,
    /// `host:port` of the agent's control channel.
    pub address: String,
    /// Number of workers that this node runs.
    pub num_ranks: u32,
    /// Process id of the agent, for people and for `--local`.
    pub pid: u32,
    /// Makes the record unique to its writer.
    pub nonce: u64,
    /// When it joined.
    pub at: Timestamp,
}
