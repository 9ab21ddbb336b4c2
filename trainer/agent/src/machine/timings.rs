use lockstep_run::{Incarnation, NodeId};
use std::time::Duration;

/// Monotonic time since the agent started.
pub type Time = Duration;

/// What a machine knows from the beginning.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// This life of its agent.
    pub incarnation: Incarnation,
    /// Nodes that the job asks for; every one must join.
    pub num_nodes: u32,
    /// What this agent tells a leader when it joins.
    pub offer: crate::wire::Offer,
    /// The launch that this agent belongs to.
    pub launch: String,
    /// Deadlines.
    pub timings: Timings,
    /// How often the same cause may end a generation without progress.
    pub same_cause: u32,
    /// True where workers send heartbeats; a user's own command sends none.
    pub workers_beat: bool,
}

/// Deadlines, all on the clock of the one who waits.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Without a sign of life for this long, a node, leader or worker is dead.
    pub dead: Duration,
    /// How long node 0 is waited for before another one leads the first generation.
    pub join: Duration,
    /// How long a generation may gather before its agents leave, so that no device is held for nothing.
    pub replacement: Duration,
    /// From a generation's record to every rank's first step begun.
    pub starting: Duration,
    /// The first step.
    pub first_step: Duration,
    /// Any other step.
    pub step: Duration,
    /// An evaluation.
    pub evaluating: Duration,
    /// Waiting for a checkpoint.
    pub saving: Duration,
    /// From a stop request to the end.
    pub grace: Duration,
    /// From launch to an ordered stop.
    pub max_run_time: Option<Duration>,
}

impl Timings {
    /// How long a rank may stay in a phase without finishing a step.
    pub fn budget(&self, phase: lockstep_run::link::Phase) -> Duration {
        use lockstep_run::link::Phase;
        match phase {
            Phase::Starting | Phase::Loading => self.starting,
            Phase::FirstStep => self.first_step,
            Phase::Training => self.step,
            Phase::Evaluating => self.evaluating,
            Phase::Saving => self.saving,
        }
    }
}
