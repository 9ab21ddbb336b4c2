//! Every agent's own part: find the leader, run its generation's workers, leave.

mod look;
mod view;

use super::{Action, Event, ExitCode, Machine, Mercy, Time, leader_is_gone};
use crate::wire::{Beat, LeaderMsg, MemberMsg};
use lockstep_run::link::{AgentMsg, Phase};
use lockstep_run::{Body, Generation, Incarnation, Join, Membership, NodeId, Outcome, Rank, Step};
use look::{LOOK_FIRST, LOOK_LOWER_FIRST};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A node that did not answer isn't called again before this.
const REDIAL_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub(super) struct Node {
    started: Time,
    pub(super) state: State,
    /// Lives that did not answer, and until when they are left alone.
    unreachable: BTreeMap<NodeId, (Incarnation, Time)>,
    dialing: bool,
    /// A look into storage is under way.
    looking: bool,
    /// Since when this agent has been looking for what it looks for now.
    looks_since: Time,
    looked: Option<Time>,
    beaten: Option<Time>,
    pub(super) stop: Option<(String, Time)>,
    /// Workers that wait for the next generation.
    kept: Vec<Rank>,
    /// Why this agent's last generation ended, as far as it knows.
    pub(super) revoked: Option<String>,
    /// How the run ended, as this agent heard it.
    pub(super) ended: Option<Outcome>,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    /// Looking for a leader.
    Seeking,
    /// The leader knows that this node is ready.
    Joining { leader: NodeId, heard: Time },
    /// Workers run.
    Running {
        leader: NodeId,
        generation: Generation,
        heard: Time,
        workers: BTreeMap<Rank, Worker>,
        hung: BTreeSet<Rank>,
    },
    /// Workers are being killed; afterwards the leader hears of it, or the agent leaves.
    Clearing { leader: Option<NodeId>, exit: Option<ExitCode> },
    /// Gone.
    Over,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Worker {
    step: Step,
    phase: Phase,
    seen: Option<Time>,
}

impl Node {
    pub(super) fn new(now: Time) -> Self {
        let unreachable = BTreeMap::new();
        Self {
            started: now,
            state: State::Seeking,
            unreachable,
            dialing: false,
            looking: false,
            looks_since: now,
            looked: None,
            beaten: None,
            stop: None,
            kept: Vec::new(),
            revoked: None,
            ended: None,
        }
    }

    fn is_unreachable(&self, join: &Join, now: Time) -> bool {
        self.unreachable.get(&join.node).is_some_and(|(inc, until)| *inc == join.incarnation && now < *until)
    }

    /// This process did not run for `stood`: what it waits for gets that time more.
    pub(super) fn postpone(&mut self, stood: Duration) {
        match &mut self.state {
            State::Joining { heard, .. } => *heard += stood,
            State::Running { heard, workers, .. } => {
                *heard += stood;
                workers.values_mut().filter_map(|w| w.seen.as_mut()).for_each(|seen| *seen += stood);
            }
            State::Seeking | State::Clearing { .. } | State::Over => {}
        }
    }
}

impl Machine {
    pub(super) fn node_event(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => self.node_tick(now, out),
            Event::Seen { joins, newest } => self.on_seen(now, joins, newest, out),
            Event::Dialed { node, incarnation, ok } => self.on_dialed(now, node, incarnation, ok, out),
            Event::LeaderGone => self.on_leader_gone(now, out),
            Event::FromLeader(msg) => self.on_leader_msg(now, msg, out),
            Event::WorkerBeat { generation, beat } => self.on_beat(now, generation, beat, out),
            Event::CommandGetsOn { generation } if self.runs(generation) => {
                out.push(Action::ToLeader(MemberMsg::GetsOn { generation }));
            }
            Event::WorkerHeld { generation, rank, ask, started } if self.runs(generation) => {
                out.push(Action::ToLeader(MemberMsg::Held { generation, rank, ask, started }));
            }
            Event::WorkerLeft { generation, rank, how } => {
                let State::Running { generation: current, workers, hung, .. } = &mut self.node.state else {
                    return;
                };
                if *current != generation {
                    return;
                }
                workers.remove(&rank);
                out.push(Action::ToLeader(match how {
                    Ok(outcome) => MemberMsg::Finished { generation, rank, outcome },
                    Err(_) if hung.contains(&rank) => {
                        let cause = format!("sent no heartbeat for {:?}", self.config.timings.dead);
                        MemberMsg::Lost { generation, rank, cause }
                    }
                    Err(cause) => MemberMsg::Lost { generation, rank, cause },
                }));
            }
            Event::WorkersGone { free_port, kept } => {
                self.config.offer.survivors = kept.len() as u32;
                self.node.kept = kept;
                self.config.offer.free_port = free_port.unwrap_or(self.config.offer.free_port);
                self.on_workers_gone(now, out);
            }
            Event::StopRequested { cause } if self.node.stop.is_none() => {
                self.node.stop = Some((cause.clone(), now));
                match self.node.leader() {
                    Some(_) => out.push(Action::ToLeader(MemberMsg::Stop { cause })),
                    None => self.leave(ExitCode::Stopped, out),
                }
            }
            _ => {}
        }
    }

    fn runs(&self, generation: Generation) -> bool {
        matches!(self.node.state, State::Running { generation: current, .. } if current == generation)
    }

    fn node_tick(&mut self, now: Time, out: &mut Vec<Action>) {
        let timings = &self.config.timings;
        if self.node.stop.as_ref().is_some_and(|(_, at)| now > *at + timings.grace) {
            return self.leave(ExitCode::Stopped, out);
        }
        let gathers =
            self.node.leader() == Some(self.config.node) && matches!(self.node.state, State::Joining { .. });
        match &mut self.node.state {
            State::Seeking => {
                if self.node.look_is_due(now, &self.config, LOOK_FIRST) {
                    out.push(Action::Look);
                }
            }
            State::Joining { heard, .. } => {
                if now > *heard + timings.dead {
                    return self.lose_leader(now, out);
                }
                if Node::due(&mut self.node.beaten, now, timings.heartbeat) {
                    out.push(Action::ToLeader(MemberMsg::Heartbeat {
                        generation: Generation(0),
                        beats: vec![],
                    }));
                }
                if gathers && self.node.look_is_due(now, &self.config, LOOK_LOWER_FIRST) {
                    out.push(Action::Look);
                }
            }
            State::Running { generation, heard, workers, hung, .. } => {
                if now > *heard + timings.dead {
                    return self.lose_leader(now, out);
                }
                if self.config.workers_beat {
                    for (rank, worker) in workers.iter() {
                        let silent = worker.seen.is_some_and(|seen| now > seen + timings.dead);
                        if silent && hung.insert(*rank) {
                            out.push(Action::KillWorker(*rank));
                        }
                    }
                }
                if Node::due(&mut self.node.beaten, now, timings.heartbeat) {
                    let beat =
                        |(rank, w): (&Rank, &Worker)| Beat { rank: *rank, step: w.step, phase: w.phase };
                    let beats = workers.iter().map(beat).collect();
                    out.push(Action::ToLeader(MemberMsg::Heartbeat { generation: *generation, beats }));
                }
            }
            State::Clearing { .. } | State::Over => {}
        }
    }

    fn on_seen(
        &mut self,
        now: Time,
        mut joins: Vec<Join>,
        newest: Option<Box<Membership>>,
        out: &mut Vec<Action>,
    ) {
        self.node.looking = false;
        if let Some(newest) = newest {
            self.known = self.known.max(newest.generation);
            if let (Some(outcome), true) = (newest.outcome(), newest.launch == self.config.launch)
                && self.is_over_for_me(outcome)
            {
                return self.part(outcome, out);
            }
        }
        joins.sort_by_key(|j| j.node);
        let me = self.config.node;
        if joins.iter().any(|j| j.node == me && j.incarnation > self.config.incarnation) {
            // Another agent is this node now. Two of them would each end what the other forms.
            return self.leave(ExitCode::Stopped, out);
        }
        let candidate = joins.iter().find(|j| j.node == me || !self.node.is_unreachable(j, now));
        let Some(candidate) = candidate else { return };
        let seeks = matches!(self.node.state, State::Seeking);
        let gathers = matches!(self.node.state, State::Joining { leader, .. } if leader == me);
        if (!seeks && !gathers) || self.node.dialing {
            return;
        }
        if candidate.node != me {
            self.node.dialing = true;
            let Join { node, incarnation, address, .. } = candidate.clone();
            out.push(Action::Dial { node, incarnation, address });
        } else if seeks {
            let first_is_absent = me != NodeId(0) && joins.iter().all(|j| j.node != NodeId(0));
            if first_is_absent
                && self.known == Generation(0)
                && now < self.node.started + self.config.timings.join
            {
                return;
            }
            self.start_gathering(now);
            self.node.look_anew(now);
            self.join(now, me, out);
        }
    }

    fn on_dialed(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        ok: bool,
        out: &mut Vec<Action>,
    ) {
        self.node.dialing = false;
        if !ok {
            self.node.unreachable.insert(node, (incarnation, now + REDIAL_AFTER));
            return;
        }
        match self.node.state {
            State::Seeking => self.join(now, node, out),
            State::Joining { leader, .. } if leader == self.config.node && node < leader => {
                self.resign(out);
                self.join(now, node, out);
            }
            _ => out.push(Action::HangUp),
        }
    }

    fn join(&mut self, now: Time, leader: NodeId, out: &mut Vec<Action>) {
        self.node.state = State::Joining { leader, heard: now };
        let stop = self.node.stop.as_ref().map(|(cause, _)| cause.clone());
        self.config.offer.account = self.ledger.account().map(Box::new);
        out.push(Action::ToLeader(MemberMsg::Join {
            offer: self.config.offer.clone(),
            known: self.known,
            stop,
        }));
    }

    fn on_leader_gone(&mut self, now: Time, out: &mut Vec<Action>) {
        self.node.look_anew(now);
        match &mut self.node.state {
            State::Joining { leader, .. } if *leader != self.config.node => self.node.state = State::Seeking,
            State::Running { leader, .. } if *leader != self.config.node => {
                self.node.revoked = Some(leader_is_gone(*leader));
                self.node.state = State::Clearing { leader: None, exit: None };
                out.push(Action::KillWorkers { mercy: Mercy::Keep });
            }
            State::Clearing { leader, .. } if *leader != Some(self.config.node) => *leader = None,
            _ => {}
        }
    }

    /// The leader is silent: as good as gone.
    fn lose_leader(&mut self, now: Time, out: &mut Vec<Action>) {
        out.push(Action::HangUp);
        if self.node.leader() == Some(self.config.node) {
            // Only a process that was stopped itself finds its own heartbeat late: others may have gone on without it.
            self.resign(out);
        }
        self.node.looked = Some(now);
        self.node.look_anew(now);
        match self.node.state {
            State::Joining { .. } => self.node.state = State::Seeking,
            _ => {
                self.node.state = State::Clearing { leader: None, exit: None };
                out.push(Action::KillWorkers { mercy: Mercy::Keep });
            }
        }
    }

    fn on_leader_msg(&mut self, now: Time, msg: LeaderMsg, out: &mut Vec<Action>) {
        match &mut self.node.state {
            State::Joining { heard, .. } | State::Running { heard, .. } => *heard = now,
            _ => {}
        }
        match msg {
            // The last three are served beside the machine.
            LeaderMsg::Ack
            | LeaderMsg::StoreReply { .. }
            | LeaderMsg::Trace { .. }
            | LeaderMsg::Strike { .. } => {}
            LeaderMsg::NotLeader => {
                if matches!(self.node.state, State::Joining { .. }) {
                    self.node.state = State::Seeking;
                    self.node.looked = Some(now);
                    self.node.look_anew(now);
                    out.push(Action::HangUp);
                }
            }
            LeaderMsg::Leave => self.leave(ExitCode::Stopped, out),
            LeaderMsg::Committed { record } => {
                let Ok(record) = serde_json::from_str::<Membership>(&record) else { return };
                self.on_committed(now, record, out);
            }
            LeaderMsg::Revoke { generation, reason } if self.runs(generation) => {
                self.node.revoked = Some(reason);
                self.node.state = State::Clearing { leader: self.node.leader(), exit: None };
                let mercy = if self.node.stop.is_some() { Mercy::Grace } else { Mercy::Keep };
                out.push(Action::KillWorkers { mercy });
            }
            LeaderMsg::HoldAt { generation, ask, step } if self.runs(generation) => {
                out.push(Action::ToWorkers(AgentMsg::HoldAt { ask, step }));
            }
            LeaderMsg::StopAt { generation, step, reason, ends_run } if self.runs(generation) => {
                out.push(Action::ToWorkers(AgentMsg::StopAt { step, reason, ends_run }));
            }
            LeaderMsg::Revoke { .. } | LeaderMsg::HoldAt { .. } | LeaderMsg::StopAt { .. } => {}
        }
    }

    fn on_committed(&mut self, now: Time, record: Membership, out: &mut Vec<Action>) {
        if record.generation < self.known {
            return;
        }
        self.known = record.generation;
        match &record.body {
            Body::Ended { outcome, .. } => self.part(outcome, out),
            Body::Formed { members, .. } => {
                let State::Joining { leader, .. } = self.node.state else { return };
                let me = (self.config.node, self.config.incarnation);
                let Some(member) = members.iter().find(|m| (m.node, m.incarnation) == me) else { return };
                // A new process says nothing before it is up; one that lives on has no such excuse.
                let kept = std::mem::take(&mut self.node.kept);
                let seen = |rank: &Rank| kept.contains(rank).then_some(now);
                let worker = |rank: &Rank| (*rank, Worker { seen: seen(rank), ..Worker::default() });
                let workers = member.ranks.iter().map(worker).collect();
                let (generation, hung) = (record.generation, BTreeSet::new());
                self.node.state = State::Running { leader, generation, heard: now, workers, hung };
                self.ledger.begin(record.account);
                out.push(Action::StartWorkers(Box::new(record)));
            }
        }
    }

    fn on_beat(&mut self, now: Time, generation: Generation, beat: Beat, out: &mut Vec<Action>) {
        let State::Running { generation: current, workers, .. } = &mut self.node.state else { return };
        if let (true, Some(worker)) = (*current == generation, workers.get_mut(&beat.rank)) {
            let is_new = worker.phase != beat.phase;
            *worker = Worker { step: beat.step, phase: beat.phase, seen: Some(now) };
            self.ledger.beat(beat.step, beat.phase);
            // A generation may be over before the next heartbeat, and have got on.
            if is_new {
                out.push(Action::ToLeader(MemberMsg::Heartbeat { generation, beats: vec![beat] }));
            }
        }
    }

    fn on_workers_gone(&mut self, now: Time, out: &mut Vec<Action>) {
        let State::Clearing { leader, exit } = self.node.state else { return };
        match (exit, leader) {
            (Some(code), _) => {
                self.node.state = State::Over;
                out.push(Action::Exit(code));
            }
            (None, Some(leader)) => self.join(now, leader, out),
            (None, None) if self.node.stop.is_some() => {
                self.node.state = State::Over;
                out.push(Action::Exit(ExitCode::Stopped));
            }
            (None, None) => {
                self.node.look_anew(now);
                self.node.state = State::Seeking;
            }
        }
    }

    /// Whether an end that this launch's leader recorded ends this agent too: one that came back after its nodes were
    /// told to leave is there to carry on.
    fn is_over_for_me(&self, outcome: &Outcome) -> bool {
        !matches!(outcome, Outcome::Stopped { for_good: false, .. }) || self.node.stop.is_some()
    }

    /// Leaves because the run ended.
    fn part(&mut self, outcome: &Outcome, out: &mut Vec<Action>) {
        self.node.ended = Some(outcome.clone());
        self.leave(code(outcome), out);
    }

    /// Ends the workers, if any, and then the agent.
    pub(super) fn leave(&mut self, code: ExitCode, out: &mut Vec<Action>) {
        match &mut self.node.state {
            State::Over => {}
            State::Clearing { exit, .. } => *exit = Some(code),
            _ => {
                self.node.state = State::Clearing { leader: self.node.leader(), exit: Some(code) };
                let mercy = if code == ExitCode::Stopped { Mercy::Grace } else { Mercy::Revoke };
                out.push(Action::KillWorkers { mercy });
            }
        }
    }

    /// Back to looking for a leader, after having been one; workers may still run, where it wanted to end the run.
    pub(super) fn seek(&mut self, now: Time, out: &mut Vec<Action>) {
        self.node.looked = Some(now);
        self.node.look_anew(now);
        match &mut self.node.state {
            State::Joining { .. } => self.node.state = State::Seeking,
            State::Running { .. } => {
                self.node.state = State::Clearing { leader: None, exit: None };
                out.push(Action::KillWorkers { mercy: Mercy::Keep });
            }
            State::Clearing { leader, .. } => *leader = None,
            State::Seeking | State::Over => {}
        }
    }
}

fn code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Done => ExitCode::Done,
        Outcome::Stopped { for_good: false, .. } => ExitCode::Stopped,
        Outcome::Stopped { for_good: true, .. } | Outcome::Failed { .. } => ExitCode::RunOver,
    }
}
