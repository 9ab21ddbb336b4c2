//! The run's folder: join records, memberships, checkpoints. It may be away, be slow, or leave open whether a record was made.

use super::super::record::record_of;
use super::super::{Event, Proposal, Time};
use super::replica::State;
use super::worker::Pid;
use super::{Due, LifeId, Sim};
use lockstep_run::checkpoint::{Lineage, Next};
use lockstep_run::{
    Body, CommitRef, Generation, Incarnation, Join, Membership, NodeId, RunUid, StartFrom, Step, Writer,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Join records that one look reads at most, as in the driver.
const MOST_READS: usize = 8;
/// Names that one listing tells.
const PAGE: usize = 1000;

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) records: BTreeMap<Generation, Membership>,
    pub(crate) commits: BTreeMap<CommitRef, State>,
    lives: BTreeMap<NodeId, Incarnation>,
    /// When somebody looked into the storage.
    pub(crate) looks: Vec<Time>,
    /// Requests of all sorts, and how many of them read a join record.
    pub(crate) num_requests: usize,
    pub(crate) num_joins_read: usize,
    down_until: Time,
    slow_until: Time,
    unsure_until: Time,
}

/// What an agent asks of it.
pub(super) enum Request {
    Look,
    /// Read what a record needs.
    Prepare(Proposal),
    /// Make the record.
    Commit(Box<Membership>),
    /// The same, by a request that its sender has given up.
    Land(Box<Membership>),
    /// Make a checkpoint: the files are there, and no newer generation was seen.
    Save(Pid, CommitRef, State),
}

impl Store {
    pub(super) fn is_up(&self, now: Time) -> bool {
        now >= self.down_until
    }

    pub(super) fn newest(&self) -> Generation {
        self.records.keys().next_back().copied().unwrap_or_default()
    }

    pub(super) fn join(&mut self, node: NodeId) -> Incarnation {
        let life = self.lives.entry(node).or_default();
        *life = Incarnation(life.0 + 1);
        *life
    }

    pub(super) fn down(&mut self, until: Time) {
        self.down_until = until.max(self.down_until);
    }

    pub(super) fn slow(&mut self, until: Time) {
        self.slow_until = until.max(self.slow_until);
    }

    pub(super) fn unsure(&mut self, until: Time) {
        self.unsure_until = until.max(self.unsure_until);
    }

    /// The newest checkpoint that the next generation may load.
    pub(super) fn newest_checkpoint(&self) -> StartFrom {
        let mut lineage = Lineage::new(self.commits.keys().copied().collect(), self.newest());
        loop {
            match lineage.next_step() {
                Next::Checkpoint(checkpoint) => return StartFrom::Commit(checkpoint),
                Next::Record(generation) => lineage.take(self.records.get(&generation)),
                Next::End => return StartFrom::Fresh,
            }
        }
    }

    /// What a look of this node tells, which knows some join records already.
    fn look(&mut self, me: NodeId, known: &mut BTreeMap<NodeId, Incarnation>) -> Vec<Join> {
        let lives = || self.lives.range(..=me);
        let unread = lives().filter(|(node, life)| known.get(*node) != Some(*life)).take(MOST_READS);
        let unread: Vec<_> = unread.map(|(node, life)| (*node, *life)).collect();
        self.num_joins_read += unread.len();
        // Whether there is a newer membership, the list, and the records.
        self.num_requests += 1 + self.lives.len().div_ceil(PAGE) + unread.len();
        known.extend(unread);
        let current = known.iter().filter(|(node, life)| self.lives.get(*node) == Some(*life));
        current.map(|(node, life)| join(*node, *life)).collect()
    }
}

fn join(node: NodeId, incarnation: Incarnation) -> Join {
    Join {
        run_uid: RunUid("sim".into()),
        node,
        incarnation,
        address: format!("{}:{}", node.0, incarnation.0),
        num_ranks: 1,
        pid: 0,
        nonce: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

impl Sim {
    fn request_takes(&mut self) -> Duration {
        match self.now < self.store.slow_until {
            true => self.random.between(100, 3000),
            false => self.moment() * 2,
        }
    }

    pub(super) fn ask(&mut self, me: LifeId, request: Request) {
        if matches!(request, Request::Look) {
            self.store.looks.push(self.now);
        }
        let after = self.request_takes();
        self.later(after, Due::Store(me, Box::new(request)));
    }

    /// A request arrives at the store.
    pub(super) fn serve(&mut self, me: LifeId, request: Request) {
        let is_up = self.store.is_up(self.now);
        match request {
            Request::Look if is_up => {
                let (node, life) = (self.lives[me].node, &mut self.lives[me]);
                let joins = self.store.look(node, &mut life.joins);
                let newest = self.store.records.values().next_back().cloned().map(Box::new);
                self.tell(Duration::ZERO, me, Event::Seen { joins, newest });
            }
            Request::Look => self.tell(Duration::ZERO, me, Event::Seen { joins: vec![], newest: None }),
            Request::Prepare(proposal) if is_up => {
                // The newest two memberships, the list of checkpoints, and what comes of them.
                self.store.num_requests += 4;
                let record = self.record(me, proposal);
                let after = self.request_takes();
                self.later(after, Due::Store(me, Box::new(Request::Commit(Box::new(record)))));
            }
            Request::Commit(record) if is_up => {
                self.store.num_requests += 1;
                self.commit(me, *record);
            }
            Request::Prepare(_) | Request::Commit(_) => self.refuse(me),
            Request::Land(record) => drop(self.store.records.entry(record.generation).or_insert(*record)),
            Request::Save(pid, checkpoint, state) => self.save(me, pid, checkpoint, state),
        }
    }

    fn refuse(&mut self, me: LifeId) {
        let event = Event::ProposeFailed { error: "down".to_owned(), for_good: false };
        self.tell(Duration::ZERO, me, event);
    }

    /// The conditional create: the first record of a generation is the one.
    fn commit(&mut self, me: LifeId, record: Membership) {
        if self.now < self.store.unsure_until {
            // The answer is lost. The record was made, wasn't, or is on its way.
            match self.random.below(3) {
                0 => drop(self.store.records.entry(record.generation).or_insert(record)),
                1 => {}
                _ => {
                    let after = self.random.between(10, 4000);
                    let late = Request::Land(Box::new(record));
                    self.later(after, Due::Store(me, Box::new(late)));
                }
            }
            return self.refuse(me);
        }
        let holds = self.store.records.entry(record.generation).or_insert(record).clone();
        let after = self.moment() * 2;
        self.tell(after, me, Event::Proposed(Box::new(holds)));
    }

    fn record(&self, me: LifeId, proposal: Proposal) -> Membership {
        let (node, incarnation) = (self.lives[me].node, self.lives[me].incarnation);
        let previous = self.store.newest();
        let body = match proposal.body {
            Ok(members) => {
                let (start_from, job) = (self.store.newest_checkpoint(), serde_json::Value::Null);
                Body::Formed { members, leader: node, start_from, job, restart: previous.0 > 0 }
            }
            Err(outcome) => Body::Ended { outcome, previous },
        };
        let record = record_of(Writer { node, incarnation, nonce: 0 }, proposal.generation, body);
        Membership { reason: proposal.reason.unwrap_or_default(), ..record }
    }

    /// A checkpoint's record, unless a newer generation was there when it was looked for.
    fn save(&mut self, me: LifeId, pid: Pid, checkpoint: CommitRef, state: State) {
        if !self.store.is_up(self.now) {
            let again = Request::Save(pid, checkpoint, state);
            return self.later(Duration::from_millis(200), Due::Store(me, Box::new(again)));
        }
        self.store.num_requests += 1;
        self.store.commits.insert(checkpoint, state);
        self.seen.on_checkpoint(self.now, checkpoint, state);
        self.saved(pid, Step(state.step));
    }

    /// Whether a newer generation than this one is there.
    pub(super) fn is_fenced(&self, generation: Generation) -> bool {
        self.store.newest() > generation
    }
}
