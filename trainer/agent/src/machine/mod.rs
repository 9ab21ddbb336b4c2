//! Who is in the run and what this agent does about it: a pure state machine.
//!
//! `(now, state, event) -> (state, actions, reason)`. Nothing here reads a clock, a socket or a store, so the same code
//! runs under the driver, in table tests, and in a simulation of many nodes with virtual time. `node` is every
//! agent's own part, `lead` the part of the one that leads.

mod budget;
mod event;
mod lead;
mod ledger;
mod node;
mod stop;
mod timings;

#[cfg(test)]
mod campaign;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod curve;
#[cfg(test)]
mod diagram;
#[cfg(test)]
mod explore;
#[cfg(test)]
mod record;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod sim;

pub use event::{Action, Event, Mercy, Note, Proposal, leader_is_gone};
pub use lockstep_job::AgentExit as ExitCode;
pub use timings::{Config, Time, Timings};

use lead::Lead;
use ledger::{Doing, Ledger};
use lockstep_run::{Account, Generation, NodeId, Outcome, Rank, Report};
use node::Node;
use std::collections::VecDeque;
use std::time::Duration;

/// A machine whose ticks are further apart than this stood still itself: SIGSTOP, a suspended laptop, a starved node.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The state of one agent.
#[derive(Debug, Clone)]
pub struct Machine {
    config: Config,
    node: Node,
    lead: Option<Lead>,
    ledger: Ledger,
    /// The newest generation that this agent has heard of.
    known: Generation,
    ticked: Time,
}

impl Machine {
    /// An agent that has just started. `known` is the newest generation in storage.
    pub fn new(config: Config, known: Generation, now: Time) -> Self {
        Self { node: Node::new(now), lead: None, ledger: Ledger::new(now), config, known, ticked: now }
    }

    /// Takes one event and says what to do, in order.
    pub fn on(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.ledger.pass(now, self.doing());
        let mut queue = VecDeque::from([event]);
        let mut out = Vec::new();
        while let Some(event) = queue.pop_front() {
            let mut actions = Vec::new();
            self.route(now, event, &mut actions);
            for action in actions {
                // What an agent that leads says to itself never touches the network.
                match self.loop_back(action) {
                    Ok(event) => queue.push_back(event),
                    Err(action) => out.push(action),
                }
            }
        }
        out
    }

    fn doing(&self) -> Doing {
        match self.node.working() {
            Some(phase) => Doing::Working(phase),
            None if self.node.has_left() => Doing::Nothing,
            None => Doing::Between { storage: self.trouble().is_some() },
        }
    }

    fn route(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        if matches!(event, Event::Tick) {
            self.forgive_standstill(now);
            self.node_event(now, Event::Tick, out);
            self.lead_event(now, Event::Tick, out);
        } else if event.is_for_leader() {
            self.lead_event(now, event, out);
        } else {
            self.node_event(now, event, out);
        }
    }

    /// Nobody is to blame for silence while this process itself did not run: every deadline that ran meanwhile gets the time
    /// back. Whoever went on without it says so as soon as it is heard.
    fn forgive_standstill(&mut self, now: Time) {
        let stood = now.saturating_sub(std::mem::replace(&mut self.ticked, now));
        if stood > STANDSTILL {
            self.node.postpone(stood);
            if let Some(lead) = &mut self.lead {
                lead.postpone(stood);
            }
        }
    }

    fn loop_back(&self, action: Action) -> Result<Event, Action> {
        let (me, incarnation) = (self.config.node, self.config.incarnation);
        match action {
            Action::ToLeader(msg) if self.node.leader() == Some(me) => {
                Ok(Event::FromMember { node: me, incarnation, msg })
            }
            Action::ToMember { node, msg } if node == me => Ok(Event::FromLeader(msg)),
            other => Err(other),
        }
    }

    /// The node that this agent follows, itself included.
    pub fn leader(&self) -> Option<NodeId> {
        self.node.leader()
    }

    /// The generation that this agent serves as leader.
    pub fn leads(&self) -> Option<Generation> {
        self.lead.as_ref().and_then(Lead::generation)
    }

    /// The node of a rank of the generation that this agent serves as leader.
    pub fn node_of(&self, rank: Rank) -> Option<NodeId> {
        self.lead.as_ref().and_then(|lead| lead.node_of(rank))
    }

    /// What the run's time has gone to, as far as this agent knows.
    pub fn account(&self) -> Option<Account> {
        self.ledger.account()
    }

    /// Rank 0, a worker of this node, told what an interval's steps took.
    pub fn on_report(&mut self, report: &Report) {
        self.ledger.report(report);
    }

    /// How the run ended, as this agent heard it.
    pub fn ended(&self) -> Option<&Outcome> {
        self.node.ended.as_ref()
    }

    /// What the storage says, where the run waits for it.
    pub fn trouble(&self) -> Option<&str> {
        self.lead.as_ref().and_then(Lead::trouble)
    }

    /// What it is as a node and as a leader, by the names of the diagram in ARCHITECTURE.md.
    #[cfg(test)]
    fn phases(&self) -> [&'static str; 2] {
        [self.node.phase(), self.lead.as_ref().map_or("no leader", Lead::phase)]
    }

    /// What it waits for or does, in words that anybody may read.
    pub fn reason(&self) -> String {
        match &self.lead {
            Some(lead) => lead.reason(&self.config),
            None => self.node.reason(),
        }
    }
}
