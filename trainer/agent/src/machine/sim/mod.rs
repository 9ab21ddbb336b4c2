//! Many machines, a network, a store and workers under one virtual clock. Only the machine is the agent's own code; the rest is
//! what surrounds it: `act` the driver, `network` its connections, `store` the run's folder, `worker` and `group` what trains.
//!
//! All chance comes from one seed, so a schedule of faults and a seed are a whole run. `invariants` looks at each step.

mod act;
mod faults;
mod group;
mod invariants;
mod network;
mod queue;
mod random;
mod replica;
mod store;
mod worker;

pub(crate) use faults::Fault;
pub(crate) use random::Random;

use super::{Config, Event, ExitCode, Machine, Time, Timings};
use crate::wire::Offer;
use group::Group;
use invariants::Invariants;
use lockstep_run::{Body, Generation, Incarnation, Membership, NodeId};
use network::{Direction, Link, Network};
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use store::{Request, Store};
use worker::{Pid, Worker, Works};

const TICK: Duration = Duration::from_millis(50);
/// Who started an agent starts it again after this.
const RESTART_AFTER: Duration = Duration::from_millis(300);
/// An agent that is frozen longer is killed and started again, as a liveness probe does.
const PROBE: Duration = Duration::from_secs(4);

/// One life of an agent: a number of the simulation's own, as two lives of a node may be there at the same time.
pub(crate) type LifeId = usize;

/// An agent and what its driver knows; every node runs one rank.
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) machine: Machine,
    pub(crate) exit: Option<ExitCode>,
    lives: bool,
    /// Another one comes where it leaves for now, as a Job makes one, unless the run was suspended.
    has_successor: bool,
    frozen_until: Time,
    leader: Option<Link>,
    members: BTreeMap<NodeId, (Incarnation, Link)>,
    worker: Option<Pid>,
    /// Join records that it has read.
    joins: BTreeMap<NodeId, Incarnation>,
}

enum Due {
    Event(LifeId, Box<Event>),
    Tick(LifeId),
    Deliver(Link, Direction),
    Dialed(LifeId, NodeId, Incarnation, Option<LifeId>),
    Store(LifeId, Box<Request>),
    Work(Pid, u64, Works),
    /// All ranks of a generation have said what the next collective is about.
    Meet(Generation, u64),
    /// No worker of this life may be in a generation any more; until it is, this many milliseconds are left.
    Revoked(LifeId, Option<Pid>),
    Boot(NodeId),
    Probe(LifeId),
    Strike(Fault),
}

/// What a simulation is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) num_nodes: u32,
    /// Steps to train.
    pub(crate) total: u64,
    pub(crate) step_time: Duration,
    /// Draws all delays and what the store and the network do; without one every delay is the least.
    pub(crate) seed: Option<u64>,
    /// Each member gets a membership with itself in it only, which is all that its machine looks at: many nodes would spend nearly all of
    /// the simulation reading one another's entries.
    pub(crate) cuts_records: bool,
}

pub(crate) struct Sim {
    pub(crate) now: Time,
    pub(crate) plan: Plan,
    pub(crate) lives: Vec<Life>,
    /// The newest life of each node; none between two lives.
    current: Vec<Option<LifeId>>,
    pub(crate) store: Store,
    pub(crate) applied: Vec<(Generation, u64)>,
    pub(crate) seen: Invariants,
    /// Messages that agents got from agents, and bytes of memberships among what they were sent.
    pub(crate) num_messages: u64,
    pub(crate) record_bytes: u64,
    /// Real time that each life's machine took, where that is measured.
    pub(crate) took: Option<Vec<Duration>>,
    network: Network,
    workers: Vec<Worker>,
    groups: BTreeMap<Generation, Group>,
    due: Queue<Due>,
    random: Random,
    /// From which state to which one event has brought a node, and a leader.
    pub(crate) edges: [BTreeSet<(&'static str, &'static str)>; 2],
}

pub(crate) fn timings() -> Timings {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    Timings {
        heartbeat: ms(200),
        dead: s(3),
        join: s(5),
        replacement: s(600),
        starting: s(20),
        first_step: s(15),
        step: s(10),
        evaluating: s(300),
        saving: s(300),
        grace: s(30),
        max_run_time: None,
    }
}

pub(crate) fn config(node: u32, incarnation: u32, num_nodes: u32) -> Config {
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
    /// One in which nothing happens by chance.
    pub(crate) fn new(num_nodes: u32, total: u64) -> Self {
        Self::of(Plan {
            num_nodes,
            total,
            step_time: Duration::from_millis(10),
            seed: None,
            cuts_records: false,
        })
    }

    pub(crate) fn of(plan: Plan) -> Self {
        let mut sim = Self {
            now: Time::ZERO,
            plan,
            lives: vec![],
            current: vec![None; plan.num_nodes as usize],
            store: Store::default(),
            applied: vec![],
            seen: Invariants::default(),
            num_messages: 0,
            record_bytes: 0,
            took: None,
            network: Network::default(),
            workers: vec![],
            groups: BTreeMap::new(),
            due: Queue::new(),
            random: Random::new(plan.seed.unwrap_or_default()),
            edges: Default::default(),
        };
        sim.seen.of(u64::from(plan.num_nodes));
        (0..plan.num_nodes).for_each(|node| sim.boot(NodeId(node)));
        sim
    }

    pub(crate) fn records(&self) -> &BTreeMap<Generation, Membership> {
        &self.store.records
    }

    /// How each node's newest life left, if it has.
    pub(crate) fn exits(&self) -> Vec<Option<ExitCode>> {
        self.current.iter().map(|life| life.and_then(|life| self.lives[life].exit)).collect()
    }

    /// Whether every node has left.
    pub(crate) fn is_over(&self) -> bool {
        let has_left = |life: &LifeId| self.lives[*life].exit.is_some() && !self.lives[*life].has_successor;
        self.current.iter().all(|life| life.as_ref().is_some_and(has_left))
    }

    /// What must hold of a run that had the time to reach its end.
    pub(crate) fn must_have_ended(&mut self) {
        let exits = self.exits();
        let done = exits.iter().all(|exit| *exit == Some(ExitCode::Done));
        let reasons: Vec<_> =
            self.current.iter().flatten().map(|l| self.lives[*l].machine.reason()).collect();
        let progressed = self.seen.progressed;
        self.seen.must(self.now, "12 progress resumes within the bound, and the run ends", done, || {
            format!("{exits:?}; the last new step at {progressed:?}; {reasons:?}")
        });
        let last = self.store.commits.keys().map(|commit| commit.step.0).max();
        let total = self.plan.total;
        self.seen.must(self.now, "5 the last state is saved", !done || last == Some(total), || {
            format!("{last:?}")
        });
        self.seen.on_end(self.now, &self.store);
    }

    /// The memberships, and why each was made.
    pub(crate) fn story(&self) -> String {
        let of = |record: &Membership| {
            let (writer, reason) = (&record.writer, &record.reason);
            let body = match &record.body {
                Body::Formed { start_from, .. } => format!("from {start_from}"),
                Body::Ended { outcome, .. } => format!("{outcome:?}"),
            };
            format!("  {} by {}.{}, {body}: {reason}\n", record.generation, writer.node, writer.incarnation)
        };
        self.store.records.values().map(of).collect()
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.due.put(self.now + after, due);
    }

    /// A delay of what is usually fast.
    fn moment(&mut self) -> Duration {
        match self.plan.seed {
            None => Duration::from_millis(1),
            Some(_) if self.random.percent(2) => self.random.between(5, 300),
            Some(_) => self.random.between(0, 4),
        }
    }

    fn tell(&mut self, after: Duration, life: LifeId, event: Event) {
        self.later(after, Due::Event(life, Box::new(event)));
    }

    /// Begins the next life of a node, once it can write its join record.
    fn boot(&mut self, node: NodeId) {
        if self.current[node.0 as usize].is_some_and(|life| self.lives[life].lives) {
            return;
        }
        if !self.store.is_up(self.now) {
            return self.later(RESTART_AFTER, Due::Boot(node));
        }
        let incarnation = self.store.join(node);
        let known = self.store.newest();
        let config = config(node.0, incarnation.0, self.plan.num_nodes);
        let life = self.lives.len();
        self.lives.push(Life {
            node,
            incarnation,
            machine: Machine::new(config, known, self.now),
            exit: None,
            lives: true,
            has_successor: true,
            frozen_until: self.now,
            leader: None,
            members: BTreeMap::new(),
            worker: None,
            joins: BTreeMap::new(),
        });
        self.current[node.0 as usize] = Some(life);
        let first = if self.plan.seed.is_some() { self.random.between(0, 50) } else { Duration::ZERO };
        self.later(first, Due::Tick(life));
    }

    /// Whether an agent's process is there and not frozen.
    fn runs(&self, life: LifeId) -> bool {
        self.lives[life].lives && self.lives[life].frozen_until <= self.now
    }

    fn life_of(&self, node: u32) -> Option<LifeId> {
        self.current[(node % self.plan.num_nodes) as usize].filter(|life| self.lives[*life].lives)
    }

    /// The life that serves the newest generation, or gathers the next one.
    pub(crate) fn leader(&self) -> Option<LifeId> {
        let leads = |life: &LifeId| self.lives[*life].machine.lead.is_some();
        self.current.iter().flatten().copied().filter(|life| self.lives[*life].lives).find(leads)
    }

    /// Runs until `until`, striking each fault at its time.
    pub(crate) fn run(&mut self, until: Time, faults: &[(Time, Fault)]) {
        faults.iter().for_each(|(at, fault)| self.due.put(*at, Due::Strike(*fault)));
        self.run_while(until, |_| true);
    }

    /// Runs until `until`, or until `goes_on` says no.
    pub(crate) fn run_while(&mut self, until: Time, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self) {
            let Some((at, due)) = self.due.take(until) else { break };
            self.now = at;
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Event(life, event) => {
                let frozen_until = self.lives[life].frozen_until;
                match frozen_until > self.now {
                    true => self.due.put(frozen_until, Due::Event(life, event)),
                    false => self.handle(life, *event),
                }
            }
            Due::Tick(life) => {
                if self.lives[life].lives {
                    let thaws = self.lives[life].frozen_until;
                    if thaws > self.now {
                        return self.due.put(thaws, Due::Tick(life));
                    }
                    self.handle(life, Event::Tick);
                    self.later(TICK, Due::Tick(life));
                }
            }
            Due::Deliver(link, direction) => self.deliver(link, direction),
            Due::Dialed(life, node, incarnation, answers) => self.dialed(life, node, incarnation, answers),
            Due::Store(life, request) => self.serve(life, *request),
            Due::Work(pid, part, works) => self.work(pid, part, works),
            Due::Meet(generation, meeting) => self.meet(generation, meeting),
            Due::Revoked(life, pid) => self.end_part(life, pid),
            Due::Boot(node) => self.boot(node),
            Due::Probe(life) => {
                if self.lives[life].lives {
                    self.kill_agent(life);
                }
            }
            Due::Strike(fault) => self.strike(fault),
        }
    }

    /// The machine takes an event, and what it says is done.
    fn handle(&mut self, id: LifeId, event: Event) {
        let life = &mut self.lives[id];
        if !life.lives {
            return;
        }
        let before = life.machine.phases();
        let began = self.took.is_some().then(Instant::now);
        let actions = life.machine.on(self.now, event);
        if let (Some(took), Some(began)) = (&mut self.took, began) {
            took.resize(took.len().max(id + 1), Duration::ZERO);
            took[id] += began.elapsed();
        }
        let after = life.machine.phases();
        for (edges, (before, after)) in self.edges.iter_mut().zip(before.into_iter().zip(after)) {
            if before != after {
                edges.insert((before, after));
            }
        }
        actions.into_iter().for_each(|action| self.act(id, action));
    }
}
