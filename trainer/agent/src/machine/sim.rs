//! Many machines, a store, a network and workers under one virtual clock. Faults are drawn by proptest, which prints
//! and shrinks the schedule of a failure.

use super::{Action, Config, Event, ExitCode, Machine, Proposal, Time, Timings};
use crate::wire::{Beat, Offer};
use lockstep_run::link::{AgentMsg, Failure, FailureKind, Phase, WorkerOutcome};
use lockstep_run::{
    Body, Generation, Incarnation, Join, Membership, NodeId, Rank, RunUid, StartFrom, Step, Writer,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const LATENCY: Duration = Duration::from_millis(1);
const STEP_TIME: Duration = Duration::from_millis(10);
/// An agent that is frozen longer is killed and started again, as a liveness probe does.
const PROBE: Duration = Duration::from_secs(4);

/// A fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    KillWorker(u32),
    HangWorker(u32),
    KillAgent(u32),
    FreezeAgent(u32, Duration),
    StoreDown(Duration),
    Stop(u32),
}

/// One agent and its worker; every node runs one rank.
pub(super) struct Agent {
    pub(super) machine: Machine,
    pub(super) incarnation: Incarnation,
    frozen_until: Time,
    leader: Option<NodeId>,
    worker: Option<Worker>,
    pub(super) exit: Option<ExitCode>,
}

struct Worker {
    generation: Generation,
    rank: Rank,
    step: u64,
    limit: u64,
    stop_at: Option<u64>,
    hung: bool,
}

enum Due {
    Event(u32, Incarnation, Box<Event>),
    Restart(u32),
}

pub(super) struct Sim {
    pub(super) now: Time,
    pub(super) agents: Vec<Option<Agent>>,
    pub(super) joins: BTreeMap<NodeId, Join>,
    pub(super) records: BTreeMap<Generation, Membership>,
    pub(super) applied: Vec<(Generation, u64)>,
    /// When somebody looked into the storage.
    pub(super) looks: Vec<Time>,
    due: BTreeMap<(Time, u64), Due>,
    seq: u64,
    saved: u64,
    total: u64,
    store_down_until: Time,
}

pub(super) fn timings() -> Timings {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    Timings {
        heartbeat: ms(200),
        dead: s(3),
        join: s(5),
        replacement: s(600),
        starting: s(70),
        first_step: s(60),
        step: s(10),
        evaluating: s(300),
        saving: s(300),
        grace: s(30),
        max_run_time: None,
    }
}

pub(super) fn config(node: u32, incarnation: u32, num_nodes: u32) -> Config {
    Config {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        num_nodes,
        offer: Offer {
            address: format!("{node}:{incarnation}"),
            num_ranks: 1,
            free_port: 1,
            survivors: 0,
            account: None,
        },
        launch: "one".to_owned(),
        timings: timings(),
        same_cause: u32::MAX,
        workers_beat: true,
    }
}

impl Sim {
    pub(super) fn new(num_nodes: u32, total: u64) -> Self {
        let mut sim = Self {
            now: Time::ZERO,
            agents: (0..num_nodes).map(|_| None).collect(),
            joins: BTreeMap::new(),
            records: BTreeMap::new(),
            applied: vec![],
            looks: vec![],
            due: BTreeMap::new(),
            seq: 0,
            saved: 0,
            total,
            store_down_until: Time::ZERO,
        };
        (0..num_nodes).for_each(|node| sim.boot(node));
        sim
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.seq += 1;
        self.due.insert((self.now + after, self.seq), due);
    }

    fn tell(&mut self, after: Duration, node: NodeId, event: Event) {
        if let Some(Some(agent)) = self.agents.get(node.0 as usize) {
            let incarnation = agent.incarnation;
            self.later(after, Due::Event(node.0, incarnation, Box::new(event)));
        }
    }

    fn boot(&mut self, node: u32) {
        let incarnation = Incarnation(self.joins.get(&NodeId(node)).map_or(0, |j| j.incarnation.0) + 1);
        let known = self.records.keys().next_back().copied().unwrap_or_default();
        let config = config(node, incarnation.0, self.agents.len() as u32);
        self.joins.insert(
            NodeId(node),
            Join {
                run_uid: RunUid("sim".into()),
                node: NodeId(node),
                incarnation,
                address: config.offer.address.clone(),
                num_ranks: 1,
                pid: 0,
                nonce: 0,
                at: jiff::Timestamp::UNIX_EPOCH,
            },
        );
        let machine = Machine::new(config, known, self.now);
        self.agents[node as usize] = Some(Agent {
            machine,
            incarnation,
            frozen_until: self.now,
            leader: None,
            worker: None,
            exit: None,
        });
    }

    fn lives(&self, node: NodeId) -> Option<&Agent> {
        self.agents[node.0 as usize].as_ref().filter(|a| a.exit.is_none())
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        let num = self.agents.len() as u32;
        match fault {
            Fault::KillWorker(node) => self.end_worker(node % num, Err("was killed by SIGKILL".to_owned())),
            Fault::HangWorker(node) => {
                if let Some(Some(Agent { worker: Some(worker), .. })) =
                    self.agents.get_mut((node % num) as usize)
                {
                    worker.hung = true;
                }
            }
            Fault::KillAgent(node) => self.kill_agent(node % num),
            Fault::FreezeAgent(node, span) => {
                let until = self.now + span.min(PROBE);
                if let Some(agent) = &mut self.agents[(node % num) as usize] {
                    agent.frozen_until = until;
                }
                if span > PROBE {
                    self.later(PROBE, Due::Restart(node % num));
                }
            }
            Fault::StoreDown(span) => self.store_down_until = self.now + span,
            Fault::Stop(node) => {
                let cause = "SIGTERM".to_owned();
                self.tell(LATENCY, NodeId(node % num), Event::StopRequested { cause });
            }
        }
    }

    fn kill_agent(&mut self, node: u32) {
        if self.lives(NodeId(node)).is_none() {
            return;
        }
        let Some(dead) = self.agents[node as usize].take() else { return };
        let gone = Event::MemberGone { node: NodeId(node), incarnation: dead.incarnation };
        dead.leader.into_iter().for_each(|leader| self.tell(LATENCY, leader, gone.clone()));
        let followers = self.agents.iter_mut().flatten().filter(|a| a.leader == Some(NodeId(node)));
        let nodes: Vec<_> = followers.map(|a| (a.leader.take(), a.machine.config.node).1).collect();
        nodes.into_iter().for_each(|follower| self.tell(LATENCY, follower, Event::LeaderGone));
        self.later(Duration::from_millis(300), Due::Restart(node));
    }

    fn end_worker(&mut self, node: u32, how: Result<WorkerOutcome, String>) {
        let Some(Some(agent)) = self.agents.get_mut(node as usize) else { return };
        let Some(Worker { generation, rank, .. }) = agent.worker.take() else { return };
        self.tell(LATENCY, NodeId(node), Event::WorkerLeft { generation, rank, how: how.clone() });
        if how.is_err() {
            let peer_lost = Failure { kind: FailureKind::PeerLost, message: "connection reset".into() };
            let peers: Vec<_> = (0..self.agents.len() as u32)
                .filter(|n| self.generation_of(*n) == Some(generation))
                .collect();
            peers.into_iter().for_each(|n| self.end_worker(n, Ok(WorkerOutcome::Failed(peer_lost.clone()))));
        }
    }

    fn generation_of(&self, node: u32) -> Option<Generation> {
        self.agents[node as usize].as_ref()?.worker.as_ref().filter(|w| !w.hung).map(|w| w.generation)
    }

    /// Runs until `until`, striking each fault at its time.
    pub(super) fn run(&mut self, until: Time, faults: &[(Time, Fault)]) {
        let mut faults: Vec<_> = faults.to_vec();
        faults.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        while self.now < until {
            while let Some((_, fault)) = faults.pop_if(|(at, _)| *at <= self.now) {
                self.strike(fault);
            }
            while let Some(entry) = self.due.first_entry().filter(|e| e.key().0 <= self.now) {
                match entry.remove() {
                    Due::Event(node, incarnation, event) => self.deliver(node, incarnation, *event),
                    Due::Restart(node) if self.lives(NodeId(node)).is_some() => self.kill_agent(node),
                    Due::Restart(node) if self.agents[node as usize].is_none() => self.boot(node),
                    Due::Restart(_) => {}
                }
            }
            let millis = self.now.as_millis() as u64;
            if millis.is_multiple_of(STEP_TIME.as_millis() as u64) {
                self.train();
            }
            if millis.is_multiple_of(200) {
                self.beat();
            }
            if millis.is_multiple_of(50) {
                for node in 0..self.agents.len() as u32 {
                    self.tell(Duration::ZERO, NodeId(node), Event::Tick);
                }
            }
            self.now += Duration::from_millis(1);
        }
    }

    fn deliver(&mut self, node: u32, incarnation: Incarnation, event: Event) {
        let now = self.now;
        let Some(Some(agent)) = self.agents.get_mut(node as usize) else { return };
        if agent.incarnation != incarnation || agent.exit.is_some() {
            return;
        }
        if agent.frozen_until > now {
            let wait = agent.frozen_until - now;
            return self.later(wait, Due::Event(node, incarnation, Box::new(event)));
        }
        let actions = agent.machine.on(now, event);
        actions.into_iter().for_each(|action| self.act(NodeId(node), action));
    }

    fn act(&mut self, me: NodeId, action: Action) {
        let store_is_up = self.now >= self.store_down_until;
        let Some(Some(agent)) = self.agents.get_mut(me.0 as usize) else { return };
        let incarnation = agent.incarnation;
        match action {
            Action::Look => {
                self.looks.push(self.now);
                let newest = self.records.values().next_back().cloned().map(Box::new);
                let (joins, newest) = if store_is_up {
                    (self.joins.values().cloned().collect(), newest)
                } else {
                    (vec![], None)
                };
                self.tell(LATENCY, me, Event::Seen { joins, newest });
            }
            Action::Dial { node, incarnation: theirs, .. } => {
                let ok =
                    self.lives(node).is_some_and(|a| a.incarnation == theirs && a.frozen_until <= self.now);
                if let (true, Some(Some(agent))) = (ok, self.agents.get_mut(me.0 as usize)) {
                    agent.leader = Some(node);
                }
                let after = if ok { LATENCY } else { Duration::from_millis(50) };
                self.tell(after, me, Event::Dialed { node, incarnation: theirs, ok });
            }
            Action::HangUp => {
                let leader = agent.leader.take();
                leader
                    .into_iter()
                    .for_each(|l| self.tell(LATENCY, l, Event::MemberGone { node: me, incarnation }));
            }
            Action::ToLeader(msg) => {
                let leader = agent.leader;
                leader.into_iter().for_each(|l| {
                    self.tell(LATENCY, l, Event::FromMember { node: me, incarnation, msg: msg.clone() })
                });
            }
            Action::ToMember { node, msg } => {
                if self.agents[node.0 as usize].as_ref().is_some_and(|a| a.leader == Some(me)) {
                    self.tell(LATENCY, node, Event::FromLeader(msg));
                }
            }
            Action::StartWorkers(record) => {
                let rank = record.members().iter().position(|m| m.node == me).unwrap_or_default();
                let (generation, rank) = (record.generation, Rank(rank as u32));
                let worker = Worker {
                    generation,
                    rank,
                    step: self.saved,
                    limit: u64::MAX,
                    stop_at: None,
                    hung: false,
                };
                agent.worker = Some(worker);
            }
            Action::KillWorkers { .. } => {
                agent.worker = None;
                self.tell(Duration::from_millis(5), me, Event::WorkersGone { free_port: None, survivors: 0 });
            }
            Action::KillWorker(_) => self.end_worker(me.0, Err("was killed by SIGKILL".to_owned())),
            Action::ToWorkers(msg) => {
                let Some(worker) = &mut agent.worker else { return };
                match msg {
                    AgentMsg::HoldAt { ask, step } => {
                        worker.limit = step.0.max(worker.step);
                        let (generation, rank, started) = (worker.generation, worker.rank, Step(worker.step));
                        self.tell(LATENCY, me, Event::WorkerHeld { generation, rank, ask, started });
                    }
                    AgentMsg::StopAt { step, .. } => worker.stop_at = Some(step.0),
                    _ => {}
                }
            }
            Action::Propose(proposal) => {
                let event = match store_is_up {
                    true => Event::Proposed(Box::new(self.propose(me, incarnation, proposal))),
                    false => Event::ProposeFailed { error: "down".to_owned(), for_good: false },
                };
                self.tell(Duration::from_millis(5), me, event);
            }
            Action::Note(_) => {}
            Action::Exit(code) => {
                agent.exit = Some(code);
                let leader = agent.leader.take();
                leader
                    .into_iter()
                    .for_each(|l| self.tell(LATENCY, l, Event::MemberGone { node: me, incarnation }));
                let followers: Vec<_> = self
                    .agents
                    .iter_mut()
                    .flatten()
                    .filter(|a| a.leader == Some(me))
                    .map(|a| a.machine.config.node)
                    .collect();
                followers.into_iter().for_each(|f| self.tell(LATENCY * 2, f, Event::LeaderGone));
            }
        }
    }

    fn propose(&mut self, me: NodeId, incarnation: Incarnation, proposal: Proposal) -> Membership {
        let previous = self.records.keys().next_back().copied().unwrap_or_default();
        let body = match proposal.body {
            Ok(members) => {
                let (start_from, job) = (StartFrom::Fresh, serde_json::Value::Null);
                Body::Formed { members, leader: me, start_from, job, restart: previous.0 > 0 }
            }
            Err(outcome) => Body::Ended { outcome, previous },
        };
        let record = Membership {
            run_uid: RunUid("sim".into()),
            generation: proposal.generation,
            writer: Writer { node: me, incarnation, nonce: 0 },
            launch: "one".to_owned(),
            launched_at: None,
            restarts: None,
            launch_restarts: 0,
            root: None,
            gpu_seconds: None,
            account: None,
            survivors: 0,
            at: jiff::Timestamp::UNIX_EPOCH,
            reason: proposal.reason.unwrap_or_default(),
            body,
        };
        self.records.entry(proposal.generation).or_insert(record).clone()
    }

    /// One step, where every rank of the newest generation runs and may go on.
    fn train(&mut self) {
        let Some(newest) = self.records.values().next_back().filter(|r| r.outcome().is_none()) else {
            return;
        };
        let generation = newest.generation;
        let num = self.agents.len();
        let ready = |w: &&Worker| w.generation == generation && !w.hung && w.step < w.limit.min(self.total);
        let workers: Vec<u64> = self
            .agents
            .iter()
            .flatten()
            .filter_map(|a| a.worker.as_ref())
            .filter(ready)
            .map(|w| w.step)
            .collect();
        if workers.len() == num {
            assert!(workers.iter().all(|s| *s == workers[0]), "replicas differ: {workers:?}");
            self.applied.push((generation, workers[0] + 1));
            for worker in self.agents.iter_mut().flatten().filter_map(|a| a.worker.as_mut()) {
                worker.step += 1;
            }
            if (workers[0] + 1).is_multiple_of(20) {
                self.saved = workers[0] + 1;
            }
        }
        for node in 0..num as u32 {
            let Some(Some(Agent { worker: Some(w), .. })) = self.agents.get(node as usize) else { continue };
            let (step, stopped) = (Step(w.step), w.stop_at.is_some_and(|at| w.step >= at));
            if w.generation == generation && !w.hung && (w.step >= self.total || stopped) {
                let outcome = if w.step >= self.total {
                    WorkerOutcome::Done { step }
                } else {
                    WorkerOutcome::Stopped { step }
                };
                self.saved = self.saved.max(w.step);
                self.end_worker(node, Ok(outcome));
            }
        }
    }

    fn beat(&mut self) {
        for node in 0..self.agents.len() as u32 {
            let Some(Some(Agent { worker: Some(w), .. })) = self.agents.get(node as usize) else { continue };
            if !w.hung {
                let phase = if w.step == self.saved { Phase::FirstStep } else { Phase::Training };
                let beat = Beat { rank: w.rank, step: Step(w.step), phase };
                let generation = w.generation;
                self.tell(LATENCY, NodeId(node), Event::WorkerBeat { generation, beat });
            }
        }
    }
}
