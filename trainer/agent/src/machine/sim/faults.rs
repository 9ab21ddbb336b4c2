//! What may happen to a run, and schedules of it by a seed.

use super::super::{Action, Event};
use super::{Due, LifeId, PROBE, Random, Sim, Time};
use crate::wire::{Beat, LeaderMsg, MemberMsg};
use lockstep_run::link::{Phase, WorkerOutcome};
use lockstep_run::{Generation, Rank, Step};
use std::time::Duration;

/// A fault. Nodes are numbers of any size, taken modulo how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    KillWorker(u32),
    /// SIGSTOP without an end.
    HangWorker(u32),
    /// SIGSTOP, and SIGCONT after this.
    FreezeWorker(u32, Duration),
    KillAgent(u32),
    KillLeader,
    /// Agents of these nodes, one for each bit.
    KillAgents(u32),
    KillWorkers(u32),
    /// The agent's process stands still; one that does for too long is killed by a probe.
    FreezeAgent(u32, Duration),
    /// The same, and nobody probes it.
    Zombie(u32, Duration),
    /// Agent and worker stand still, as on a suspended machine.
    FreezeNode(u32, Duration),
    /// Its machine can't be heard any more and lives on; another one takes its place.
    Replace(u32, Duration),
    /// Nothing gets from the first to the second.
    Cut(u32, u32, Duration),
    /// Nothing gets to this node, or from it.
    Isolate(u32, Duration),
    /// All connections of this node's agent break.
    Break(u32),
    StoreDown(Duration),
    StoreSlow(Duration),
    /// Whether a record was made stays open.
    StoreUnsure(Duration),
    /// The next update of this node's worker is torn.
    Tear(u32),
    /// The next state that this node's worker takes over arrives damaged.
    Flip(u32),
    /// Words of a generation that is over arrive once more.
    Stale(u32),
    /// SIGTERM, and nobody takes its place: a run that is suspended.
    Stop(u32),
    /// The same, and a successor comes: a pod that is drained.
    Drain(u32),
}

impl Fault {
    /// One of those that a run gets over by itself.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let (node, other) = (random.below(8) as u32, random.below(8) as u32);
        let span = random.between(50, 9000);
        match random.below(25) {
            0 | 1 => Self::KillWorker(node),
            2 => Self::HangWorker(node),
            3 => Self::FreezeWorker(node, span),
            4 => Self::KillAgent(node),
            5 | 6 => Self::KillLeader,
            7 => Self::KillAgents(random.below(256) as u32),
            8 | 9 => Self::KillWorkers(random.below(256) as u32),
            10 => Self::FreezeAgent(node, span),
            11 => Self::Zombie(node, span),
            12 => Self::FreezeNode(node, span),
            13 => Self::Replace(node, span),
            14 | 15 => Self::Cut(node, other, span),
            16 => Self::Isolate(node, span),
            17 => Self::Break(node),
            18 => Self::StoreDown(span),
            19 => Self::StoreSlow(span),
            20 => Self::StoreUnsure(span),
            21 => Self::Tear(node),
            22 => Self::Flip(node),
            23 => Self::Drain(node),
            _ => Self::Stale(node),
        }
    }

    /// How long it lasts.
    pub(crate) fn span(&self) -> Duration {
        match self {
            Self::FreezeWorker(_, span)
            | Self::FreezeAgent(_, span)
            | Self::Zombie(_, span)
            | Self::FreezeNode(_, span)
            | Self::Replace(_, span)
            | Self::Cut(_, _, span)
            | Self::Isolate(_, span)
            | Self::StoreDown(span)
            | Self::StoreSlow(span)
            | Self::StoreUnsure(span) => *span,
            _ => Duration::ZERO,
        }
    }
}

impl Sim {
    pub(super) fn strike(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::KillWorker(node) => self.kill_worker_of(node),
            Fault::KillWorkers(nodes) => self.of_bits(nodes).for_each(|node| self.kill_worker_of(node)),
            Fault::HangWorker(node) => self.freeze_worker(node, Time::MAX),
            Fault::FreezeWorker(node, span) => self.freeze_worker(node, now + span),
            Fault::KillAgent(node) => self.life_of(node).into_iter().for_each(|life| self.kill_agent(life)),
            Fault::KillAgents(nodes) => {
                self.of_bits(nodes).for_each(|node| self.strike(Fault::KillAgent(node)))
            }
            Fault::KillLeader => self.leader().into_iter().for_each(|life| self.kill_agent(life)),
            Fault::FreezeAgent(node, span) => {
                if let Some(life) = self.life_of(node) {
                    self.lives[life].frozen_until = now + span.min(PROBE);
                    if span > PROBE {
                        self.later(PROBE, Due::Probe(life));
                    }
                }
            }
            Fault::Zombie(node, span) => {
                self.life_of(node).into_iter().for_each(|life| self.lives[life].frozen_until = now + span)
            }
            Fault::FreezeNode(node, span) => {
                self.strike(Fault::Zombie(node, span));
                self.freeze_worker(node, now + span);
            }
            Fault::Replace(node, span) => {
                if let Some(life) = self.life_of(node) {
                    self.isolate(life, now + span);
                    let node = self.lives[life].node;
                    self.current[node.0 as usize] = None;
                    self.boot(node);
                    // Who lost its place is ended in the end.
                    self.later(span + Duration::from_secs(1), Due::Probe(life));
                }
            }
            Fault::Cut(from, to, span) => {
                if let (Some(from), Some(to)) = (self.life_of(from), self.life_of(to))
                    && from != to
                {
                    self.network.cut(from, to, now + span);
                }
            }
            Fault::Isolate(node, span) => {
                self.life_of(node).into_iter().for_each(|life| self.isolate(life, now + span))
            }
            Fault::Break(node) => {
                let links = self.life_of(node).map(|life| self.links_of(life));
                links.into_iter().flatten().for_each(|link| self.break_link(link));
            }
            Fault::StoreDown(span) => self.store.down(now + span),
            Fault::StoreSlow(span) => self.store.slow(now + span),
            Fault::StoreUnsure(span) => self.store.unsure(now + span),
            Fault::Tear(node) => self.with_worker(node, |worker| worker.tears = true),
            Fault::Flip(node) => self.with_worker(node, |worker| worker.flips = true),
            Fault::Stale(node) => self.say_stale(node),
            Fault::Drain(node) => {
                let stop = Event::StopRequested { cause: "SIGTERM".to_owned() };
                let after = self.moment();
                self.life_of(node).into_iter().for_each(|life| self.tell(after, life, stop.clone()));
            }
            Fault::Stop(node) => {
                self.life_of(node).into_iter().for_each(|life| self.lives[life].has_successor = false);
                self.strike(Fault::Drain(node));
            }
        }
    }

    fn of_bits(&self, bits: u32) -> impl Iterator<Item = u32> + use<> {
        (0..self.plan.num_nodes.min(8)).filter(move |node| bits >> node & 1 == 1)
    }

    fn with_worker(&mut self, node: u32, change: impl FnOnce(&mut super::Worker)) {
        let pid = self.life_of(node).and_then(|life| self.lives[life].worker);
        if let Some(pid) = pid {
            change(&mut self.workers[pid]);
        }
    }

    fn kill_worker_of(&mut self, node: u32) {
        let pid = self.life_of(node).and_then(|life| self.lives[life].worker);
        pid.into_iter().for_each(|pid| self.kill_worker(pid));
    }

    fn freeze_worker(&mut self, node: u32, until: Time) {
        self.with_worker(node, |worker| worker.frozen_until = until.max(worker.frozen_until));
    }

    fn isolate(&mut self, life: LifeId, until: Time) {
        for other in (0..self.lives.len()).filter(|other| *other != life) {
            self.network.cut(life, other, until);
            self.network.cut(other, life, until);
        }
    }

    /// An answer, a last word and an order of the generation before arrive late. None of them may change anything.
    fn say_stale(&mut self, node: u32) {
        let Some(leader) = self.leader().filter(|leader| self.runs(*leader)) else { return };
        let (Some(generation), Some(life)) = (self.lives[leader].machine.leads(), self.life_of(node)) else {
            return;
        };
        let (generation, rank) = (Generation(generation.0 - 1), self.lives[life].node.0);
        let (rank, step, ask) = (Rank(rank), Step(1 << 40), 1);
        let (node, incarnation) = (self.lives[life].node, self.lives[life].incarnation);
        let beats = vec![Beat { rank, step, phase: Phase::Training }];
        let cause = "was killed by SIGKILL".to_owned();
        for msg in [
            MemberMsg::Heartbeat { generation, beats },
            MemberMsg::Held { generation, rank, ask, started: step },
            MemberMsg::Finished { generation, rank, outcome: WorkerOutcome::Done { step } },
            MemberMsg::Lost { generation, rank, cause },
        ] {
            self.say_of_old(leader, Event::FromMember { node, incarnation, msg });
        }
        let reason = String::new();
        let mut orders = vec![
            LeaderMsg::Revoke { generation, reason: reason.clone() },
            LeaderMsg::HoldAt { generation, ask, step: Step(0) },
            LeaderMsg::StopAt { generation, step: Step(0), reason, ends_run: true },
        ];
        let record = self.store.records.get(&generation).filter(|_| self.runs(life));
        let record = record.filter(|record| record.outcome().is_none());
        orders
            .extend(record.map(|record| LeaderMsg::Committed {
                record: serde_json::to_string(record).unwrap().into(),
            }));
        // Who has just come hasn't heard of any generation yet: there the record's own words decide.
        if self.runs(life) && self.lives[life].machine.known > generation {
            orders.into_iter().for_each(|msg| self.say_of_old(life, Event::FromLeader(msg)));
        }
    }

    /// It must leave the machine as an empty word of the same sender does.
    fn say_of_old(&mut self, to: LifeId, event: Event) {
        let empty = match &event {
            Event::FromMember { node, incarnation, .. } => {
                let msg = MemberMsg::Heartbeat { generation: Generation(0), beats: vec![] };
                Event::FromMember { node: *node, incarnation: *incarnation, msg }
            }
            _ => Event::FromLeader(LeaderMsg::Ack),
        };
        let machine = &mut self.lives[to].machine;
        let (mut other, text) = (machine.clone(), format!("{event:?}"));
        other.on(self.now, empty);
        let actions = machine.on(self.now, event);
        let is_answer = |action: &Action| matches!(action, Action::ToMember { msg: LeaderMsg::Ack, .. });
        let is_same = actions.iter().all(is_answer) && format!("{machine:?}") == format!("{other:?}");
        self.seen.must(self.now, "6 nothing of an old generation is accepted", is_same, || {
            format!("{text} led to {actions:?}")
        });
    }
}
