//! What the driver does with what the machine says.

use super::super::Action;
use super::super::record::record_of;
use super::network::{Direction, Says};
use super::store::Request;
use super::{Due, LifeId, Sim};
use crate::wire::LeaderMsg;
use lockstep_run::{Body, Membership, NodeId};
use std::sync::Arc;

impl Sim {
    pub(super) fn act(&mut self, me: LifeId, action: Action) {
        match action {
            Action::Look => self.ask(me, Request::Look),
            Action::Dial { node, incarnation, .. } => self.dial(me, node, incarnation),
            Action::HangUp => {
                let link = self.lives[me].leader.take();
                link.into_iter().for_each(|link| self.close(link, Direction::ToLeader));
            }
            Action::ToLeader(msg) => {
                if let Some(link) = self.lives[me].leader {
                    self.say(link, Direction::ToLeader, Says::Member(msg));
                }
            }
            Action::ToMember { node, msg } => {
                let msg = match msg {
                    LeaderMsg::Committed { record } => {
                        self.record_bytes += record.len() as u64;
                        LeaderMsg::Committed { record: self.cut(node, record) }
                    }
                    other => other,
                };
                if let Some((_, link)) = self.lives[me].members.get(&node).copied() {
                    self.say(link, Direction::ToMember, Says::Leader(msg));
                }
            }
            Action::StartWorkers(record) => self.start_worker(me, &record),
            Action::KillWorkers { mercy } => self.end_workers(me, mercy),
            Action::KillWorker(_) => {
                let worker = self.lives[me].worker;
                worker.into_iter().for_each(|pid| self.kill_worker(pid));
            }
            Action::ToWorkers(msg) => {
                let worker = self.lives[me].worker;
                worker.into_iter().for_each(|pid| self.hear_agent(pid, msg.clone()));
            }
            Action::Propose(proposal) => self.ask(me, Request::Prepare(proposal)),
            Action::Note(_) => {}
            Action::Exit(code) => {
                self.lives[me].exit = Some(code);
                self.end_life(me);
                // Who left because another one is its node has one already.
                self.lives[me].has_successor &= code == super::ExitCode::Stopped;
                if self.lives[me].has_successor {
                    let node = self.lives[me].node;
                    self.later(super::RESTART_AFTER, Due::Boot(node));
                }
            }
        }
    }

    /// What a member gets of the newest membership.
    fn cut(&self, node: NodeId, text: Arc<str>) -> Arc<str> {
        let newest = self.store.records.values().next_back().filter(|_| self.plan.cuts_records);
        let Some(Membership { body: Body::Formed { members, leader, start_from, .. }, .. }) = newest else {
            return text;
        };
        let Ok(at) = members.binary_search_by_key(&node, |member| member.node) else { return text };
        let (members, job) = (vec![members[at].clone()], serde_json::Value::Null);
        let body =
            Body::Formed { members, leader: *leader, start_from: start_from.clone(), job, restart: true };
        let cut = newest.map(|newest| record_of(newest.writer.clone(), newest.generation, body));
        serde_json::to_string(&cut).map_or(text, Arc::from)
    }

    fn start_worker(&mut self, me: LifeId, record: &Membership) {
        let node: NodeId = self.lives[me].node;
        // Of a record that was cut, the truth is looked up.
        let record = match self.plan.cuts_records {
            true => self.store.records.get(&record.generation).cloned(),
            false => {
                self.seen.on_start(self.now, me, &self.lives[me], record, &self.store);
                Some(record.clone())
            }
        };
        let rank =
            |record: &Membership| record.members().binary_search_by_key(&node, |member| member.node).ok();
        if let Some((rank, record)) = record.and_then(|record| Some((rank(&record)?, record))) {
            self.begin_part(me, &record, rank);
        }
    }

    /// An agent's process is gone, and with it its connections and its worker.
    pub(super) fn end_life(&mut self, me: LifeId) {
        self.lives[me].lives = false;
        let worker = self.lives[me].worker.take();
        worker.into_iter().for_each(|pid| self.kill_worker(pid));
        self.close_all(me);
    }

    pub(super) fn kill_agent(&mut self, me: LifeId) {
        let node = self.lives[me].node;
        if self.lives[me].lives {
            // What it was about to send is lost, or not.
            for link in self.links_of(me) {
                if self.plan.seed.is_some() && self.random.percent(50) {
                    self.break_link(link);
                }
            }
            self.end_life(me);
            self.later(super::RESTART_AFTER, Due::Boot(node));
        }
    }
}
