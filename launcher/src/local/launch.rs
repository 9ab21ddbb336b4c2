//! What is launched on this machine.

use super::origin::Origin;
use lockstep_job::Resume;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to launch.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The agent's binary.
    pub(crate) agent: PathBuf,
    /// URI of the run's folder.
    pub(crate) run_dir: String,
    /// The resolved job.
    pub(crate) job: serde_json::Value,
    /// Number of nodes.
    pub(crate) num_nodes: u32,
    /// Workers of each node.
    pub(crate) ranks_per_node: u32,
    /// Name of this launch.
    pub(crate) id: String,
    /// When the user typed the command.
    pub(crate) launched_at_unix_ms: u64,
    /// What to start from.
    pub(crate) resume: Resume,
    /// Where nodes keep what outlives their workers.
    pub(crate) scratch: PathBuf,
    /// Who launches, and from where.
    pub(crate) origin: Origin,
    /// The address at which the agents listen.
    pub(crate) loopback: IpAddr,
    /// Where a command of the job runs; where the launcher does unless it is given.
    pub(crate) folder: Option<PathBuf>,
    /// Agents get this long to stop before they are killed.
    pub(crate) grace: Duration,
}
