//! What a leader is, for those who ask.

use super::super::Config;
use super::{Lead, State};
use lockstep_run::{Generation, Incarnation, NodeId, Rank, ranges};
use std::time::Duration;

impl Lead {
    pub(in crate::machine) fn generation(&self) -> Option<Generation> {
        match &self.state {
            State::Leading(leading) => Some(leading.generation),
            _ => None,
        }
    }

    pub(in crate::machine) fn node_of(&self, rank: Rank) -> Option<NodeId> {
        match &self.state {
            State::Leading(leading) => leading.ranks.get(&rank).map(|rank| rank.node),
            _ => None,
        }
    }

    /// Whether a newer life of this node is here: what an older one says comes too late.
    pub(super) fn knows_newer(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let joined = self.joins.get(&node).map(|(known, _)| *known);
        let runs = match &self.state {
            State::Leading(leading) => leading.incarnation_of(node),
            _ => None,
        };
        joined.max(runs).is_some_and(|known| known > incarnation)
    }

    #[cfg(test)]
    pub(in crate::machine) fn phase(&self) -> &'static str {
        match self.state {
            State::Gathering { .. } => "Gathering",
            State::Proposing { .. } => "Proposing",
            State::Leading(_) => "Leading",
            State::Over => "Over",
        }
    }

    pub(in crate::machine) fn reason(&self, config: &Config) -> String {
        match &self.state {
            State::Gathering { .. } => {
                let missing: Vec<_> =
                    (0..config.num_nodes).filter(|n| !self.joins.contains_key(&NodeId(*n))).collect();
                match missing[..] {
                    [] => "pauses because the last generations failed quickly".to_owned(),
                    [node] => format!("waits for node {node}"),
                    _ => format!("waits for nodes {}", ranges(missing)),
                }
            }
            State::Proposing { failing: Some(_), .. } => {
                "waits for storage, to commit a membership".to_owned()
            }
            State::Proposing { .. } => "commits a membership".to_owned(),
            State::Leading(leading) => format!("leads generation {}", leading.generation),
            State::Over => "is over".to_owned(),
        }
    }

    /// This process did not run for `stood`: what it waits for gets that time more.
    pub(in crate::machine) fn postpone(&mut self, stood: Duration) {
        if let State::Leading(leading) = &mut self.state {
            leading.postpone(stood);
        }
    }

    /// What the storage says, where it is waited for.
    pub(in crate::machine) fn trouble(&self) -> Option<&str> {
        match &self.state {
            State::Proposing { failing: Some(failing), .. } => Some(&failing.error),
            _ => None,
        }
    }
}
