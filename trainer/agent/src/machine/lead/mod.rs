//! The leader's part: gather the nodes, commit a generation, watch over it, end it.

mod leading;
mod proposing;
mod stopping;
mod view;

use super::budget::{Answer, Budget, MOST_IN_VAIN};
use super::{Action, Event, Machine, Note, Proposal, Time, leader_is_gone};
use crate::wire::{LeaderMsg, MemberMsg, Offer};
use leading::{Fault, Leading, watch};
use lockstep_run::link::{Failure, FailureKind, WorkerOutcome};
use lockstep_run::segment::EventKind;
use lockstep_run::{
    Account, Body, Generation, Incarnation, Member, Membership, NodeId, Outcome, Rank, ranges,
};
use proposing::Failing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Ctrl-C or a suspended Job stops every node, one after the other: a node that is the first to be asked isn't let go
/// before this, so that the run ends with a record instead of waiting for a replacement.
const STOP_WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct Lead {
    state: State,
    /// Nodes that wait for the next generation.
    joins: BTreeMap<NodeId, (Incarnation, Offer)>,
    /// Why the last generation ended, if this machine saw that.
    reason: Option<String>,
    budget: Budget,
    /// Nodes that were asked to stop, and since when.
    stops: BTreeMap<NodeId, Time>,
    /// A request that concerns the whole run.
    whole: Option<Whole>,
}

/// A stop of the whole run.
#[derive(Debug, Clone)]
struct Whole {
    cause: String,
    since: Time,
    /// Whether nodes of this launch that come back leave again.
    for_good: bool,
}

impl Whole {
    fn outcome(self) -> Outcome {
        Outcome::Stopped { cause: self.cause, for_good: self.for_good }
    }
}

#[derive(Debug, Clone)]
enum State {
    Gathering {
        since: Time,
        /// No generation is formed before: the last ones failed too quickly.
        until: Time,
    },
    Proposing {
        proposal: Proposal,
        failing: Option<Failing>,
    },
    Leading(Box<Leading>),
    Over,
}

impl Machine {
    pub(super) fn start_gathering(&mut self, now: Time) {
        let whole = None;
        let (joins, stops, budget) = (BTreeMap::new(), BTreeMap::new(), Budget::default());
        let reason = self.node.revoked.clone();
        let state = State::Gathering { since: now, until: now };
        self.lead = Some(Lead { state, joins, reason, budget, stops, whole });
    }

    /// Stops leading; whoever waits here must look for another leader.
    pub(super) fn resign(&mut self, out: &mut Vec<Action>) {
        let Some(lead) = self.lead.take() else { return };
        let nodes: BTreeSet<NodeId> = match &lead.state {
            State::Leading(leading) => leading.members.iter().map(|m| m.node).collect(),
            _ => lead.joins.into_keys().collect(),
        };
        for node in nodes.into_iter().filter(|n| *n != self.config.node) {
            out.push(Action::ToMember { node, msg: LeaderMsg::NotLeader });
        }
    }

    pub(super) fn lead_event(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        if self.lead.is_none() {
            if let Event::FromMember {
                node, msg: MemberMsg::Join { .. } | MemberMsg::Heartbeat { .. }, ..
            } = event
            {
                out.push(Action::ToMember { node, msg: LeaderMsg::NotLeader });
            }
            return;
        }
        match event {
            Event::Tick => self.lead_tick(now, out),
            Event::FromMember { node, incarnation, msg } => {
                self.on_member_msg(now, node, incarnation, msg, out)
            }
            Event::MemberGone { node, incarnation } => self.on_member_gone(now, node, incarnation, out),
            Event::Proposed(record) => self.on_proposed(now, *record, out),
            Event::ProposeFailed { error, for_good } => self.on_propose_failed(now, error, for_good, out),
            Event::CancelRequested { cause } => self.stop_whole(now, cause, true, out),
            _ => {}
        }
    }

    fn on_member_msg(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        msg: MemberMsg,
        out: &mut Vec<Action>,
    ) {
        let Some(lead) = &mut self.lead else { return };
        if let State::Leading(leading) = &mut lead.state
            && leading.has(node, incarnation)
        {
            leading.heard.insert(node, now);
        }
        match msg {
            MemberMsg::Join { offer, known, stop } => {
                self.known = self.known.max(known);
                self.on_join(now, node, incarnation, offer, stop, out);
            }
            MemberMsg::Heartbeat { generation, beats } => {
                out.push(Action::ToMember { node, msg: LeaderMsg::Ack });
                // It beats to a leader that doesn't know it: one that was away for a while and has let go of the generation
                // that the member still runs, or one that the member joined while a record without it was on its way.
                let joined = lead.joins.get(&node).is_some_and(|(known, _)| *known == incarnation);
                if !joined && matches!(lead.state, State::Gathering { .. } | State::Proposing { .. }) {
                    let reason = lead.reason.clone().unwrap_or_else(|| leader_is_gone(self.config.node));
                    // Who runs one joins by itself once that is revoked, which may be on its way: were it told to look for another
                    // leader as well, it would leave the generation that it is taken into.
                    let msg = match generation {
                        Generation(0) => LeaderMsg::NotLeader,
                        generation => LeaderMsg::Revoke { generation, reason },
                    };
                    out.push(Action::ToMember { node, msg });
                }
                self.on_beats(now, generation, &beats);
            }
            MemberMsg::Stop { cause } => {
                lead.stops.entry(node).or_insert(now);
                if !self.stop_if_all(now, &cause, out) {
                    self.begin_stop(now, out);
                }
            }
            MemberMsg::Held { generation, rank, ask, started } => {
                self.on_held(generation, rank, ask, started, out)
            }
            MemberMsg::Finished { generation, rank, outcome } => {
                self.on_finished(now, generation, rank, outcome, out)
            }
            MemberMsg::GetsOn { generation } => {
                if self.leads() == Some(generation)
                    && let Some(lead) = &mut self.lead
                {
                    lead.budget.forgive();
                }
            }
            MemberMsg::Lost { generation, rank, cause } => {
                if let Some(Lead { state: State::Leading(leading), .. }) = &self.lead
                    && leading.generation == generation
                {
                    let late =
                        if leading.others_are_done(rank) { " after all other ranks were done" } else { "" };
                    self.reform(now, Fault::of_rank(node, rank, &format!("{cause}{late}")), out);
                }
            }
            // Served beside the machine: requests to the key-value store change no membership.
            MemberMsg::Store { .. } | MemberMsg::Gpus { .. } => {}
        }
    }

    fn on_join(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        offer: Offer,
        stop: Option<String>,
        out: &mut Vec<Action>,
    ) {
        let Some(lead) = &mut self.lead else { return };
        if lead.knows_newer(node, incarnation) {
            return;
        }
        if let State::Leading(leading) = &lead.state {
            let reason = match leading.has(node, incarnation) {
                true => format!("node {node} lost its workers"),
                false => format!("node {node} came back as incarnation {incarnation}"),
            };
            self.reform(now, Fault::of(Some(node), reason), out);
        }
        let Some(lead) = &mut self.lead else { return };
        lead.joins.insert(node, (incarnation, offer));
        match stop {
            Some(cause) => {
                lead.stops.entry(node).or_insert(now);
                self.stop_if_all(now, &cause, out);
            }
            None => {
                lead.stops.remove(&node);
            }
        }
        self.settle(now, out);
    }

    fn on_member_gone(&mut self, now: Time, node: NodeId, incarnation: Incarnation, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        if lead.joins.get(&node).is_some_and(|(known, _)| *known == incarnation) {
            lead.joins.remove(&node);
        }
        if let State::Leading(leading) = &lead.state
            && leading.has(node, incarnation)
        {
            self.reform(now, Fault::of(Some(node), format!("the agent of node {node} is gone")), out);
        }
    }

    fn on_beats(&mut self, now: Time, generation: Generation, beats: &[crate::wire::Beat]) {
        let Some(Lead { state: State::Leading(leading), budget, .. }) = &mut self.lead else { return };
        if leading.generation != generation {
            return;
        }
        for beat in beats {
            let Some(view) = leading.ranks.get_mut(&beat.rank) else { continue };
            if view.phase.is_before_training() && !beat.phase.is_before_training() {
                budget.on_begin(beat.step);
            }
            if (view.step, view.phase) != (beat.step, beat.phase) {
                (view.step, view.phase, view.since) = (beat.step, beat.phase, now);
            }
            budget.on_step(beat.step);
        }
    }

    fn on_finished(
        &mut self,
        now: Time,
        generation: Generation,
        rank: Rank,
        outcome: WorkerOutcome,
        out: &mut Vec<Action>,
    ) {
        let Some(Lead { state: State::Leading(leading), stops, .. }) = &mut self.lead else { return };
        let (true, Some(view)) = (leading.generation == generation, leading.ranks.get_mut(&rank)) else {
            return;
        };
        let node = view.node;
        view.outcome = Some(outcome.clone());
        match outcome {
            WorkerOutcome::Failed(Failure { kind: FailureKind::PeerLost, message }) => {
                leading.peer_lost.get_or_insert((now, format!("rank {rank} lost its peers: {message}")));
            }
            WorkerOutcome::Failed(Failure { kind, message }) if kind.is_fatal() => {
                self.end(Outcome::Failed { error: message }, out);
            }
            WorkerOutcome::Failed(Failure { message, .. }) => {
                self.reform(now, Fault::of_rank(node, rank, &format!("failed: {message}")), out);
            }
            WorkerOutcome::Done { .. } | WorkerOutcome::Stopped { .. } => match leading.all_finished() {
                None => {}
                Some(true) => self.end(Outcome::Done, out),
                Some(false) => {
                    let words = match stops.len() {
                        1 => ("node", "was"),
                        _ => ("nodes", "were"),
                    };
                    let leaving = ranges(stops.keys().map(|n| n.0));
                    match self.lead.as_ref().and_then(|l| l.whole.clone()) {
                        Some(whole) => self.end(whole.outcome(), out),
                        None => self.revoke(
                            now,
                            format!("{} {leaving} {} asked to stop", words.0, words.1),
                            Duration::ZERO,
                            out,
                        ),
                    }
                }
            },
        }
    }

    fn lead_tick(&mut self, now: Time, out: &mut Vec<Action>) {
        let timings = self.config.timings.clone();
        if timings.max_run_time.is_some_and(|limit| now > limit) {
            self.stop_whole(now, "limits.maxRunTime is reached".to_owned(), true, out);
        }
        let Some(lead) = &mut self.lead else { return };
        if let (Some(whole), State::Leading(_)) = (&lead.whole, &lead.state)
            && now > whole.since + timings.grace
        {
            let cause = format!(
                "{}; no checkpoint was written because the workers did not stop within {:?}",
                whole.cause, timings.grace
            );
            let outcome = Outcome::Stopped { cause, for_good: whole.for_good };
            return self.end(outcome, out);
        }
        match &mut lead.state {
            State::Gathering { since, .. } if now > *since + timings.replacement => {
                for node in lead.joins.keys() {
                    out.push(Action::ToMember { node: *node, msg: LeaderMsg::Leave });
                }
            }
            State::Gathering { .. } => self.settle(now, out),
            State::Proposing { proposal, failing: Some(failing) } => {
                if failing.is_due(now) {
                    out.push(Action::Propose(proposal.clone()));
                }
            }
            State::Leading(leading) => match watch(now, leading, &timings, self.config.workers_beat) {
                Some(fault) => self.reform(now, fault, out),
                None => self.begin_stop(now, out),
            },
            State::Proposing { .. } | State::Over => {}
        }
    }

    fn on_proposed(&mut self, now: Time, record: Membership, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        let State::Proposing { .. } = lead.state else { return };
        self.known = self.known.max(record.generation);
        let ours =
            (record.writer.node, record.writer.incarnation) == (self.config.node, self.config.incarnation);
        if !ours {
            // Somebody else decided first. Its record is the truth; who waits here finds it by looking.
            self.resign(out);
            return self.seek(now, out);
        }
        // The record was made by this process from JSON values, so it can't fail to become JSON again.
        let text: Arc<str> = serde_json::to_string(&record).unwrap_or_default().into();
        let committed = || LeaderMsg::Committed { record: Arc::clone(&text) };
        match record.body {
            Body::Ended { .. } => {
                lead.state = State::Over;
                let nodes: Vec<_> = (0..self.config.num_nodes).map(NodeId).collect();
                out.extend(nodes.into_iter().map(|node| Action::ToMember { node, msg: committed() }));
            }
            Body::Formed { members, start_from, restart, .. } => {
                let nodes = ranges(members.iter().map(|m| m.node.0));
                let (newer, reason) = (if restart { ", or from memory" } else { "" }, &record.reason);
                let gone = members
                    .iter()
                    .find(|m| lead.joins.get(&m.node).is_none_or(|j| j.0 != m.incarnation))
                    .cloned();
                out.extend(members.iter().map(|m| Action::ToMember { node: m.node, msg: committed() }));
                out.push(Action::Note(Note {
                    kind: EventKind::Formed,
                    generation: record.generation,
                    node: None,
                    rank: None,
                    text: format!("nodes {nodes}; from {start_from}{newer}; {reason}"),
                }));
                lead.joins.clear();
                lead.state = State::Leading(Box::new(Leading::new(now, record.generation, members)));
                if let Some(gone) = gone {
                    let reason =
                        format!("node {} left while generation {} was formed", gone.node, record.generation);
                    return self.reform(now, Fault::of(Some(gone.node), reason), out);
                }
                self.begin_stop(now, out);
            }
        }
    }

    /// Ends the generation because of a fault, or the run where that fault came once too often.
    fn reform(&mut self, now: Time, fault: Fault, out: &mut Vec<Action>) {
        let Fault { text, cause, node, rank } = fault;
        let Some(Lead { state: State::Leading(leading), budget, .. }) = &mut self.lead else { return };
        let generation = leading.generation;
        out.push(Action::Note(Note { kind: EventKind::Lost, generation, node, rank, text: text.clone() }));
        let step = budget.highest().max(leading.newest_step());
        let error = match budget.on_failure(&cause, self.config.same_cause) {
            Answer::Again(pause) => return self.revoke(now, text, pause, out),
            Answer::SameCause => {
                format!("{text}, {} times without progress beyond step {step}", self.config.same_cause)
            }
            Answer::InVain => format!(
                "{MOST_IN_VAIN} generations in a row made no progress beyond step {step}; the last one ended because {text}"
            ),
        };
        self.end(Outcome::Failed { error }, out);
    }

    fn revoke(&mut self, now: Time, reason: String, pause: Duration, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        if let State::Leading(leading) = &lead.state {
            let generation = leading.generation;
            let msg = || LeaderMsg::Revoke { generation, reason: reason.clone() };
            out.extend(leading.members.iter().map(|m| Action::ToMember { node: m.node, msg: msg() }));
        }
        lead.joins.clear();
        lead.reason = Some(reason);
        lead.state = State::Gathering { since: now, until: now + pause };
    }

    /// Commits the next generation once everybody is here, or lets those go who were asked to stop.
    fn settle(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        let State::Gathering { until, .. } = lead.state else { return };
        if let Some(whole) = lead.whole.clone() {
            return self.end(whole.outcome(), out);
        }
        let here: Vec<_> =
            lead.stops.iter().filter(|(n, _)| lead.joins.contains_key(n)).map(|(n, at)| (*n, *at)).collect();
        for (node, _) in here.iter().filter(|(_, at)| now >= *at + STOP_WINDOW) {
            lead.stops.remove(node);
            lead.joins.remove(node);
            out.push(Action::ToMember { node: *node, msg: LeaderMsg::Leave });
        }
        if !here.is_empty() {
            return;
        }
        if (lead.joins.len() as u32) < self.config.num_nodes || now < until {
            return;
        }
        let mut first = 0;
        let member = |(node, (incarnation, offer)): (&NodeId, &(Incarnation, Offer))| {
            let ranks = (first..first + offer.num_ranks).map(Rank).collect();
            first += offer.num_ranks;
            let (address, free_port) = (offer.address.clone(), offer.free_port);
            Member { node: *node, incarnation: *incarnation, address, ranks, free_port }
        };
        let body = Ok(lead.joins.iter().map(member).collect());
        let survivors = lead.joins.values().map(|(_, offer)| offer.survivors).sum();
        let account = best_account(lead.joins.values().filter_map(|(_, offer)| offer.account.as_deref()));
        let (generation, reason) = (self.known.next(), lead.reason.clone());
        let account = account.map(Box::new);
        let proposal = Proposal { generation, reason, account, survivors, body };
        out.push(Action::Propose(proposal.clone()));
        lead.state = State::Proposing { proposal, failing: None };
    }

    fn end(&mut self, outcome: Outcome, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        if matches!(lead.state, State::Over)
            || matches!(&lead.state, State::Proposing { proposal, .. } if proposal.body.is_err())
        {
            return;
        }
        let reason = match &outcome {
            Outcome::Done => "all workers are done".to_owned(),
            Outcome::Stopped { cause, .. } => cause.clone(),
            Outcome::Failed { error } => error.clone(),
        };
        let (kind, node, rank) = (EventKind::Ended, None, None);
        let (generation, account) = (self.known.next(), self.ledger.account());
        let used = account
            .and_then(|account| account.goodput())
            .map(|share| format!("; goodput {:.1} %", share * 100.0));
        let text = reason.clone() + &used.unwrap_or_default();
        out.push(Action::Note(Note { kind, generation: self.known, node, rank, text }));
        let body = Err(outcome);
        let (reason, account) = (Some(reason), account.map(Box::new));
        let proposal = Proposal { generation, reason, account, survivors: 0, body };
        out.push(Action::Propose(proposal.clone()));
        lead.state = State::Proposing { proposal, failing: None };
    }
}

/// What the lowest of the nodes says that know most of the run's time. Their clocks began to count at about the same time.
fn best_account<'a>(of_nodes: impl Iterator<Item = &'a Account> + Clone) -> Option<Account> {
    let most = of_nodes.clone().map(Account::total).max().unwrap_or_default();
    of_nodes.copied().find(|account| account.total() + Duration::from_secs(1) >= most)
}
