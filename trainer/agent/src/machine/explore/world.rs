//! Three machines, their connections and the store, as one value that can be copied, compared and moved on by one event.

use super::super::record::record_of;
use super::super::sim::config;
use super::super::{Action, Event, Machine, Time, node};
use crate::wire::{LeaderMsg, MemberMsg};
use lockstep_run::{Body, Generation, Incarnation, Join, Membership, NodeId, RunUid, StartFrom, Writer};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

pub(super) const NODES: usize = 3;
/// A tick this long after the last one begins whatever look, call or heartbeat is due.
const SHORT: Duration = Duration::from_millis(600);
/// Ticks so far apart are no standstill, and four of them are longer than silence may last.
const LONG: Duration = Duration::from_millis(900);

/// An agent, on a clock of its own.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) machine: Machine,
    pub(super) incarnation: Incarnation,
    pub(super) now: Time,
    /// The generation that its workers train in.
    pub(super) trains: Option<Generation>,
    /// Answers of its own driver that it waits for.
    answers: VecDeque<Answer>,
    leader: Option<usize>,
}

#[derive(Clone, Debug)]
enum Answer {
    Seen,
    Dialed(NodeId, Incarnation),
    WorkersGone,
    /// A record is on its way to the store.
    Put(Box<Membership>),
    Proposed(Box<Membership>),
}

#[derive(Clone, Debug)]
enum Says {
    Member(MemberMsg),
    Leader(LeaderMsg),
    Closed,
}

/// A connection: who, to whom, and what is on its way there and back.
#[derive(Clone, Debug)]
struct Link {
    number: usize,
    member: (usize, Incarnation),
    leader: (usize, Incarnation),
    there: VecDeque<Says>,
    back: VecDeque<Says>,
}

/// How many faults may still strike.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Budget {
    pub(super) kills: u8,
    pub(super) worker_deaths: u8,
    /// A node hears nothing for longer than silence may last.
    pub(super) silences: u8,
    /// The store's answer to a proposal is lost.
    pub(super) lost_answers: u8,
    pub(super) failed_calls: u8,
    /// Ticks of each node.
    pub(super) ticks: [u8; NODES],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Move {
    /// The oldest answer of a node's driver arrives.
    Answer(usize),
    /// The same, but it says that this failed.
    AnswerFails(usize),
    /// The oldest message there, or back, of a connection arrives.
    There(usize),
    Back(usize),
    Tick(usize),
    Silence(usize),
    WorkerDies(usize),
    /// The agent is killed, and its next life begins.
    Kill(usize),
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) agents: Vec<Agent>,
    links: Vec<Link>,
    pub(super) records: BTreeMap<Generation, Membership>,
    pub(super) budget: Budget,
    next_link: usize,
    pub(super) broken: Option<String>,
}

impl World {
    /// Three agents that have just started.
    pub(super) fn new(budget: Budget) -> Self {
        let agent = |node| Agent::new(node, Incarnation(1), Generation(0));
        let (links, records) = (vec![], BTreeMap::new());
        let agents = (0..NODES).map(agent).collect();
        Self { agents, links, records, budget, next_link: 0, broken: None }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        struct Text<'a>(&'a mut DefaultHasher);
        impl Write for Text<'_> {
            fn write_str(&mut self, s: &str) -> std::fmt::Result {
                self.0.write(s.as_bytes());
                Ok(())
            }
        }
        let mut hasher = DefaultHasher::new();
        for agent in &self.agents {
            let Machine { node, lead, known, ticked, .. } = &agent.machine;
            let Agent { incarnation, now, trains, answers, leader, .. } = agent;
            // What a machine is lies in its words for it; a hash of those is a hash of all of it.
            let words = (node, lead, known, ticked, incarnation, now, trains, answers, leader);
            write!(Text(&mut hasher), "{words:?}").expect("a hash takes any text");
        }
        write!(Text(&mut hasher), "{:?}{:?}", self.links, self.records.keys())
            .expect("a hash takes any text");
        for record in self.records.values() {
            (record.writer.node, record.writer.incarnation).hash(&mut hasher);
        }
        self.budget.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let budget = &self.budget;
        for (node, agent) in self.agents.iter().enumerate() {
            if let Some(answer) = agent.answers.front() {
                moves.push(Move::Answer(node));
                let may_fail = match answer {
                    Answer::Dialed(..) => budget.failed_calls > 0,
                    Answer::Put(_) | Answer::Proposed(_) => budget.lost_answers > 0,
                    Answer::Seen | Answer::WorkersGone => false,
                };
                moves.extend(may_fail.then_some(Move::AnswerFails(node)));
            }
            moves.extend((budget.ticks[node] > 0).then_some(Move::Tick(node)));
            moves.extend((budget.silences > 0).then_some(Move::Silence(node)));
            moves.extend(
                (budget.worker_deaths > 0 && agent.trains.is_some()).then_some(Move::WorkerDies(node)),
            );
            moves.extend((budget.kills > 0).then_some(Move::Kill(node)));
        }
        for link in &self.links {
            moves.extend((!link.there.is_empty()).then_some(Move::There(link.number)));
            moves.extend((!link.back.is_empty()).then_some(Move::Back(link.number)));
        }
        moves
    }

    pub(super) fn go(&mut self, to: Move) {
        match to {
            Move::Answer(node) => self.answer(node, true),
            Move::AnswerFails(node) => self.answer(node, false),
            Move::There(link) | Move::Back(link) => self.deliver(link, matches!(to, Move::There(_))),
            Move::Tick(node) => {
                self.budget.ticks[node] -= 1;
                self.tick(node, SHORT);
            }
            Move::Silence(node) => {
                self.budget.silences -= 1;
                (0..4).for_each(|_| self.tick(node, LONG));
            }
            Move::WorkerDies(node) => {
                self.budget.worker_deaths -= 1;
                let Some(generation) = self.agents[node].trains.take() else { return };
                let (rank, how) = (lockstep_run::Rank(node as u32), Err("was killed by SIGKILL".to_owned()));
                self.handle(node, Event::WorkerLeft { generation, rank, how });
            }
            Move::Kill(node) => {
                self.budget.kills -= 1;
                self.kill(node);
            }
        }
        // What nobody will read any more makes no difference.
        self.links.retain(|link| {
            !link.there.is_empty()
                || !link.back.is_empty()
                || self.agents.iter().any(|a| a.leader == Some(link.number))
        });
    }

    pub(super) fn tick(&mut self, node: usize, after: Duration) {
        self.agents[node].now += after;
        self.handle(node, Event::Tick);
    }

    fn kill(&mut self, node: usize) {
        let incarnation = Incarnation(self.agents[node].incarnation.0 + 1);
        let known = self.records.keys().next_back().copied().unwrap_or_default();
        for link in &mut self.links {
            if link.member.0 == node {
                link.there.push_back(Says::Closed);
            }
            if link.leader.0 == node {
                link.back.push_back(Says::Closed);
            }
        }
        // A record that was on its way may have arrived: another branch has it arrive before.
        self.agents[node] = Agent::new(node, incarnation, known);
    }

    fn answer(&mut self, node: usize, ok: bool) {
        let Some(answer) = self.agents[node].answers.pop_front() else { return };
        let failed = || Event::ProposeFailed { error: "no answer".to_owned(), for_good: false };
        let event = match answer {
            Answer::Seen => {
                let join = |(node, agent): (usize, &Agent)| join(node as u32, agent.incarnation);
                let joins = self.agents.iter().enumerate().map(join).take(node + 1).collect();
                Event::Seen { joins, newest: self.records.values().next_back().cloned().map(Box::new) }
            }
            Answer::Dialed(to, incarnation) => {
                self.budget.failed_calls -= u8::from(!ok);
                let ok = ok && self.agents[to.0 as usize].incarnation == incarnation;
                if ok {
                    self.connect(node, to.0 as usize);
                }
                Event::Dialed { node: to, incarnation, ok }
            }
            Answer::WorkersGone => Event::WorkersGone { free_port: None, kept: vec![] },
            Answer::Put(record) => {
                let holds = self.records.entry(record.generation).or_insert(*record).clone();
                if ok {
                    self.agents[node].answers.push_back(Answer::Proposed(Box::new(holds)));
                    return;
                }
                self.budget.lost_answers -= 1;
                failed()
            }
            Answer::Proposed(record) if ok => Event::Proposed(record),
            Answer::Proposed(_) => {
                self.budget.lost_answers -= 1;
                failed()
            }
        };
        self.handle(node, event);
    }

    fn connect(&mut self, member: usize, leader: usize) {
        self.hang_up(member);
        let number = self.next_link;
        self.next_link += 1;
        let who = |node: usize| (node, self.agents[node].incarnation);
        let (there, back) = (VecDeque::new(), VecDeque::new());
        self.links.push(Link { number, member: who(member), leader: who(leader), there, back });
        self.agents[member].leader = Some(number);
    }

    fn hang_up(&mut self, member: usize) {
        let number = self.agents[member].leader.take();
        if let Some(link) = self.links.iter_mut().find(|link| Some(link.number) == number) {
            link.there.push_back(Says::Closed);
            link.back.clear();
        }
    }

    fn deliver(&mut self, number: usize, is_there: bool) {
        let Some(link) = self.links.iter_mut().find(|link| link.number == number) else { return };
        let (member, leader) = (link.member, link.leader);
        let says = if is_there { link.there.pop_front() } else { link.back.pop_front() };
        let lives = |(node, life): (usize, Incarnation), world: &Self| world.agents[node].incarnation == life;
        let (node, incarnation) = (NodeId(member.0 as u32), member.1);
        // Of two connections of a node its leader listens to the newer one.
        let is_newest = !self
            .links
            .iter()
            .any(|other| other.leader == leader && other.member.0 == member.0 && other.number > number);
        let follows = self.agents[member.0].leader == Some(number) && lives(member, self);
        match says {
            Some(Says::Member(msg)) if is_newest && lives(leader, self) => {
                self.handle(leader.0, Event::FromMember { node, incarnation, msg });
            }
            Some(Says::Closed) if is_there && is_newest && lives(leader, self) => {
                self.handle(leader.0, Event::MemberGone { node, incarnation });
            }
            Some(Says::Leader(msg)) if follows => self.handle(member.0, Event::FromLeader(msg)),
            Some(Says::Closed) if !is_there && follows => {
                self.agents[member.0].leader = None;
                self.handle(member.0, Event::LeaderGone);
            }
            _ => {}
        }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let agent = &mut self.agents[node];
        let actions = agent.machine.on(agent.now, event);
        actions.into_iter().for_each(|action| self.act(node, action));
        self.look_at(node);
    }

    fn act(&mut self, me: usize, action: Action) {
        let agent = &mut self.agents[me];
        match action {
            Action::Look => agent.answers.push_back(Answer::Seen),
            Action::Dial { node, incarnation, .. } => {
                agent.answers.push_back(Answer::Dialed(node, incarnation))
            }
            Action::HangUp => self.hang_up(me),
            Action::ToLeader(msg) => {
                let number = agent.leader;
                if let Some(link) = self.links.iter_mut().find(|link| Some(link.number) == number) {
                    link.there.push_back(Says::Member(msg));
                }
            }
            // Silence is a move of its own, so answers to heartbeats change nothing.
            Action::ToMember { msg: LeaderMsg::Ack, .. } => {}
            Action::ToMember { node, msg } => {
                let mine = (me, agent.incarnation);
                let to = |link: &&mut Link| link.leader == mine && link.member.0 == node.0 as usize;
                let newest = self.links.iter_mut().filter(to).max_by_key(|link| link.number);
                newest.into_iter().for_each(|link| link.back.push_back(Says::Leader(msg.clone())));
            }
            Action::StartWorkers(record) => {
                let truth = self.records.get(&record.generation);
                if truth != Some(&*record) {
                    self.broken =
                        Some(format!("node {me} trains under {record:?}, and the truth is {truth:?}"));
                }
                let before = agent.trains.replace(record.generation);
                if before.is_some_and(|before| before >= record.generation) {
                    self.broken = Some(format!("node {me} trains in {} after {before:?}", record.generation));
                }
            }
            Action::KillWorkers { .. } => {
                agent.trains = None;
                agent.answers.push_back(Answer::WorkersGone);
            }
            Action::Propose(proposal) => {
                let (node, incarnation) = (NodeId(me as u32), agent.incarnation);
                let (start_from, job) = (StartFrom::Fresh, serde_json::Value::Null);
                let body = match proposal.body {
                    Ok(members) => Body::Formed { members, leader: node, start_from, job, restart: true },
                    Err(outcome) => Body::Ended { outcome, previous: Generation(0) },
                };
                let writer = Writer { node, incarnation, nonce: 0 };
                let record = record_of(writer, proposal.generation, body);
                agent.answers.push_back(Answer::Put(Box::new(record)));
            }
            Action::KillWorker(_) | Action::ToWorkers(_) | Action::Note(_) | Action::Exit(_) => {}
        }
    }

    /// What must hold of an agent after each event.
    fn look_at(&mut self, me: usize) {
        let machine = &self.agents[me].machine;
        if let node::State::Running { generation, .. } = &machine.node.state
            && machine.known > *generation
        {
            self.broken = Some(format!("node {me} runs {generation} and knows of {}", machine.known));
        }
        let numbers = self.records.keys().map(|generation| generation.0);
        if !numbers.eq(1..=self.records.len() as u64) {
            self.broken = Some(format!("generations have gaps: {:?}", self.records.keys()));
        }
    }

    /// Whether all live in one generation, the newest one.
    pub(super) fn is_one(&self) -> bool {
        let newest = self.records.keys().next_back().copied();
        newest.is_some() && self.agents.iter().all(|agent| agent.trains == newest)
    }
}

impl Agent {
    fn new(node: usize, incarnation: Incarnation, known: Generation) -> Self {
        let machine = Machine::new(config(node as u32, incarnation.0, NODES as u32), known, Time::ZERO);
        Self { machine, incarnation, now: Time::ZERO, trains: None, answers: VecDeque::new(), leader: None }
    }
}

fn join(node: u32, incarnation: Incarnation) -> Join {
    Join {
        run_uid: RunUid(String::new()),
        node: NodeId(node),
        incarnation,
        address: String::new(),
        num_ranks: 1,
        pid: 0,
        nonce: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}
