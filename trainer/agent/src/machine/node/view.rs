//! What a node is, for those who ask.

use super::{Node, State};
use lockstep_run::NodeId;
use lockstep_run::link::Phase;

impl Node {
    pub(in crate::machine) fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Joining { leader, .. } | State::Running { leader, .. } => Some(*leader),
            State::Clearing { leader, .. } => *leader,
            State::Seeking | State::Over => None,
        }
    }

    #[cfg(test)]
    pub(in crate::machine) fn phase(&self) -> &'static str {
        match self.state {
            State::Seeking => "Seeking",
            State::Joining { .. } => "Joining",
            State::Running { .. } => "Running",
            State::Clearing { .. } => "Clearing",
            State::Over => "Over",
        }
    }

    /// What its workers do, while they are in a generation; once one has left, what it did last.
    pub(in crate::machine) fn working(&self) -> Option<Phase> {
        match &self.state {
            State::Running { workers, .. } => {
                Some(workers.values().next().map_or(Phase::Saving, |worker| worker.phase))
            }
            _ => None,
        }
    }

    pub(in crate::machine) fn has_left(&self) -> bool {
        matches!(self.state, State::Over | State::Clearing { exit: Some(_), .. })
    }

    pub(in crate::machine) fn reason(&self) -> String {
        match &self.state {
            State::Seeking => "looking for the leader".to_owned(),
            State::Joining { leader, .. } => format!("joined node {leader}, waiting for the other nodes"),
            State::Running { generation, .. } => format!("runs generation {generation}"),
            State::Clearing { .. } => "ends its workers".to_owned(),
            State::Over => "is over".to_owned(),
        }
    }
}
