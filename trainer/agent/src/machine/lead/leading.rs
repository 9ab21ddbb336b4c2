//! A generation as its leader sees it.

use super::super::stop::Stop;
use super::super::{Time, Timings};
use lockstep_run::link::{Phase, WorkerOutcome};
use lockstep_run::{Generation, Incarnation, Member, NodeId, Rank, Step};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Leading {
    pub(super) generation: Generation,
    pub(super) members: Vec<Member>,
    pub(super) heard: BTreeMap<NodeId, Time>,
    pub(super) ranks: BTreeMap<Rank, RankView>,
    pub(super) stop: Option<Stop>,
    /// A rank lost its peers; whoever is to blame usually reports within moments.
    pub(super) peer_lost: Option<(Time, String)>,
}

#[derive(Debug)]
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
        let nodes = members.iter().flat_map(|m| (0..m.num_ranks).map(|_| m.node));
        let view = |node| RankView { node, step: Step(0), phase: Phase::Starting, since: now, outcome: None };
        let ranks = nodes.enumerate().map(|(rank, node)| (Rank(rank as u32), view(node))).collect();
        Self { generation, members, heard, ranks, stop: None, peer_lost: None }
    }

    pub(super) fn has(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.members.iter().any(|m| (m.node, m.incarnation) == (node, incarnation))
    }

    pub(super) fn newest_step(&self) -> Step {
        self.ranks.values().map(|r| r.step).max().unwrap_or_default()
    }

    /// What all ranks came to, once each has said its last word.
    pub(super) fn all_finished(&self) -> Option<bool> {
        let done = |o: &WorkerOutcome| matches!(o, WorkerOutcome::Done { .. });
        let finished = |o: &WorkerOutcome| done(o) || matches!(o, WorkerOutcome::Stopped { .. });
        let outcomes = || self.ranks.values().map(|r| r.outcome.as_ref());
        outcomes().all(|o| o.is_some_and(finished)).then(|| outcomes().flatten().all(done))
    }
}

pub(super) type Problem = (String, Option<NodeId>, Option<Rank>);

/// The first thing that is wrong with a generation, if any.
pub(super) fn watch(now: Time, leading: &Leading, timings: &Timings, workers_beat: bool) -> Option<Problem> {
    for (node, heard) in &leading.heard {
        if now > *heard + timings.dead {
            return Some((
                format!("node {node} sent no heartbeat for {:?}", timings.dead),
                Some(*node),
                None,
            ));
        }
    }
    if let Some((since, reason)) = &leading.peer_lost
        && now > *since + timings.dead + Duration::from_secs(1)
    {
        return Some((reason.clone(), None, None));
    }
    if !workers_beat || leading.stop.is_some() {
        return None;
    }
    leading.ranks.iter().filter(|(_, view)| view.outcome.is_none()).find_map(|(rank, view)| {
        let budget = timings.budget(view.phase);
        let phase = serde_json::to_string(&view.phase).unwrap_or_default().replace(['"', '_'], " ");
        let reason = format!(
            "rank {rank} on node {} made no progress for {budget:?}, after step {} while{phase}",
            view.node, view.step
        );
        (now > view.since + budget).then_some((reason, Some(view.node), Some(*rank)))
    })
}
