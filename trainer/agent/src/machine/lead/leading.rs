//! A generation as its leader sees it.

use super::super::budget::normalised;
use super::super::stop::Stop;
use super::super::{Time, Timings};
use lockstep_run::link::{Phase, WorkerOutcome};
use lockstep_run::{Generation, Incarnation, Member, NodeId, Rank, Step};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Leading {
    pub(super) generation: Generation,
    pub(super) members: Vec<Member>,
    pub(super) heard: BTreeMap<NodeId, Time>,
    pub(super) ranks: BTreeMap<Rank, RankView>,
    pub(super) stop: Option<Stop>,
    /// A rank lost its peers; whoever is to blame usually reports within moments.
    pub(super) peer_lost: Option<(Time, String)>,
}

#[derive(Debug, Clone)]
pub(super) struct RankView {
    pub(super) node: NodeId,
    pub(super) step: Step,
    pub(super) phase: Phase,
    /// Since when step and phase are what they are.
    pub(super) since: Time,
    pub(super) outcome: Option<WorkerOutcome>,
}

impl Leading {
    pub(super) fn new(now: Time, generation: Generation, members: Vec<Member>) -> Self {
        let heard = members.iter().map(|m| (m.node, now)).collect();
        let nodes = members.iter().flat_map(|m| m.ranks.iter().map(|_| m.node));
        let view = |node| RankView { node, step: Step(0), phase: Phase::Starting, since: now, outcome: None };
        let ranks = nodes.enumerate().map(|(rank, node)| (Rank(rank as u32), view(node))).collect();
        Self { generation, members, heard, ranks, stop: None, peer_lost: None }
    }

    pub(super) fn has(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.incarnation_of(node) == Some(incarnation)
    }

    pub(super) fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        // Members are in node order.
        let at = self.members.binary_search_by_key(&node, |m| m.node).ok()?;
        Some(self.members[at].incarnation)
    }

    pub(super) fn newest_step(&self) -> Step {
        self.ranks.values().map(|r| r.step).max().unwrap_or_default()
    }

    /// Whether every rank but this one is done.
    pub(super) fn others_are_done(&self, rank: Rank) -> bool {
        let done = |view: &RankView| matches!(view.outcome, Some(WorkerOutcome::Done { .. }));
        self.ranks.len() > 1 && self.ranks.iter().filter(|(r, _)| **r != rank).all(|(_, view)| done(view))
    }

    /// This process did not run for `stood`: what it waits for gets that time more.
    pub(super) fn postpone(&mut self, stood: Duration) {
        self.heard.values_mut().for_each(|heard| *heard += stood);
        self.ranks.values_mut().for_each(|view| view.since += stood);
        if let Some((since, _)) = &mut self.peer_lost {
            *since += stood;
        }
    }

    /// What all ranks came to, once each has said its last word.
    pub(super) fn all_finished(&self) -> Option<bool> {
        let done = |o: &WorkerOutcome| matches!(o, WorkerOutcome::Done { .. });
        let finished = |o: &WorkerOutcome| done(o) || matches!(o, WorkerOutcome::Stopped { .. });
        let outcomes = || self.ranks.values().map(|r| r.outcome.as_ref());
        outcomes().all(|o| o.is_some_and(finished)).then(|| outcomes().flatten().all(done))
    }
}

/// What ends a generation.
#[derive(Debug)]
pub(super) struct Fault {
    /// What happened, and to whom.
    pub(super) text: String,
    /// What makes it the same as another one.
    pub(super) cause: String,
    pub(super) node: Option<NodeId>,
    pub(super) rank: Option<Rank>,
}

impl Fault {
    /// One that has to do with a node, if with any.
    pub(super) fn of(node: Option<NodeId>, text: String) -> Self {
        Self { cause: text.clone(), text, node, rank: None }
    }

    /// One of a worker. What fails on every rank is one cause, whichever of them is the first to tell.
    pub(super) fn of_rank(node: NodeId, rank: Rank, how: &str) -> Self {
        // How a process ended is told by this node's agent, and its number is the point of it.
        let ended = how.starts_with("left with exit code");
        Self {
            text: format!("rank {rank} on node {node} {how}"),
            cause: if ended { how.to_owned() } else { normalised(how) },
            node: Some(node),
            rank: Some(rank),
        }
    }
}

/// The first thing that is wrong with a generation, if any.
pub(super) fn watch(now: Time, leading: &Leading, timings: &Timings, workers_beat: bool) -> Option<Fault> {
    for (node, heard) in &leading.heard {
        if now > *heard + timings.dead {
            let text = format!("node {node} sent no heartbeat for {:?}", timings.dead);
            return Some(Fault::of(Some(*node), text));
        }
    }
    if let Some((since, reason)) = &leading.peer_lost
        && now > *since + timings.dead + Duration::from_secs(1)
    {
        return Some(Fault::of(None, reason.clone()));
    }
    if !workers_beat || leading.stop.is_some() {
        return None;
    }
    leading.ranks.iter().filter(|(_, view)| view.outcome.is_none()).find_map(|(rank, view)| {
        let budget = timings.budget(view.phase);
        let phase = serde_json::to_string(&view.phase).unwrap_or_default().replace(['"', '_'], " ");
        let how = format!("made no progress for {budget:?}, after step {} while {}", view.step, phase.trim());
        (now > view.since + budget).then(|| Fault::of_rank(view.node, *rank, &how))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_on_every_rank_is_one_cause() {
        let fault = |rank, how: &str| Fault::of_rank(NodeId(rank), Rank(rank), how);
        let (first, second) = (fault(0, "left with exit code 1"), fault(1, "left with exit code 1"));
        assert_eq!(
            (first.text.as_str(), first.cause),
            ("rank 0 on node 0 left with exit code 1", second.cause)
        );
        let said = |rank| fault(rank, &format!("failed: rank {rank} at step 3: no such column"));
        assert_eq!(said(3).cause, said(12).cause);
        let gone = |node| Fault::of(Some(NodeId(node)), format!("the agent of node {node} is gone")).cause;
        assert_ne!(gone(0), gone(1), "nodes that go one after the other, as in a drain, are no single cause");
    }
}
