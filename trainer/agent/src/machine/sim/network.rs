//! Connections between agents, as TCP is: each delivers in order, or breaks. Whose words don't arrive is not told.

use super::super::{Event, Time};
use super::{Due, LifeId, Sim};
use crate::wire::{LeaderMsg, MemberMsg};
use lockstep_run::{Incarnation, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A call that nobody answers fails after this.
const DIAL_DEADLINE: Duration = Duration::from_secs(2);
/// One that is refused, after this.
const REFUSED_AFTER: Duration = Duration::from_millis(50);

/// A connection, by its number.
pub(super) type Link = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToLeader,
    ToMember,
}

pub(super) enum Says {
    Member(MemberMsg),
    Leader(LeaderMsg),
    /// Nothing follows.
    Closed,
}

/// One way of a connection.
#[derive(Default)]
struct Way {
    queue: VecDeque<Says>,
    /// When the last of them arrives.
    last: Time,
    is_closed: bool,
}

struct Connection {
    member: LifeId,
    leader: LifeId,
    to_leader: Way,
    to_member: Way,
}

#[derive(Default)]
pub(super) struct Network {
    links: Vec<Connection>,
    /// From whom to whom nothing arrives, and until when.
    cuts: BTreeMap<(LifeId, LifeId), Time>,
}

impl Network {
    fn way(&mut self, link: Link, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToLeader => &mut self.links[link].to_leader,
            Direction::ToMember => &mut self.links[link].to_member,
        }
    }

    /// Until when nothing gets from one to the other, if that is so.
    fn cut_until(&self, now: Time, from: LifeId, to: LifeId) -> Option<Time> {
        self.cuts.get(&(from, to)).copied().filter(|until| *until > now)
    }

    pub(super) fn has_cuts(&self, now: Time) -> bool {
        self.cuts.values().any(|until| *until > now)
    }

    /// Whether words get through both ways.
    pub(super) fn reaches(&self, now: Time, a: LifeId, b: LifeId) -> bool {
        self.cut_until(now, a, b).is_none() && self.cut_until(now, b, a).is_none()
    }

    pub(super) fn cut(&mut self, from: LifeId, to: LifeId, until: Time) {
        let cut = self.cuts.entry((from, to)).or_default();
        *cut = until.max(*cut);
    }
}

impl Sim {
    pub(super) fn dial(&mut self, life: LifeId, node: NodeId, incarnation: Incarnation) {
        let who = |l: &super::Life| (l.node, l.incarnation) == (node, incarnation);
        let answers = self.lives.iter().position(who).filter(|other| self.lives[*other].lives);
        let after = match answers {
            None => REFUSED_AFTER,
            Some(other) if self.runs(other) && self.network.reaches(self.now, life, other) => self.moment(),
            Some(_) => DIAL_DEADLINE,
        };
        let answers = answers.filter(|_| after < DIAL_DEADLINE);
        self.later(after, Due::Dialed(life, node, incarnation, answers));
    }

    pub(super) fn dialed(
        &mut self,
        life: LifeId,
        node: NodeId,
        incarnation: Incarnation,
        answers: Option<LifeId>,
    ) {
        let answers = answers.filter(|other| self.lives[*other].lives && self.lives[life].lives);
        if let Some(leader) = answers {
            let (member, to_leader, to_member) = (life, Way::default(), Way::default());
            self.network.links.push(Connection { member, leader, to_leader, to_member });
            let link = self.network.links.len() - 1;
            let who = (self.lives[life].incarnation, link);
            let me = self.lives[life].node;
            // An older life that is still on its way must not push a newer one aside.
            let known = self.lives[leader].members.get(&me);
            if known.is_none_or(|(newest, _)| *newest <= who.0) {
                let old = self.lives[leader].members.insert(me, who);
                old.into_iter().for_each(|(_, old)| self.close(old, Direction::ToMember));
            }
            let old = self.lives[life].leader.replace(link);
            old.into_iter().for_each(|old| self.close(old, Direction::ToLeader));
        }
        self.tell(Duration::ZERO, life, Event::Dialed { node, incarnation, ok: answers.is_some() });
    }

    pub(super) fn say(&mut self, link: Link, direction: Direction, says: Says) {
        let after = self.moment();
        let now = self.now;
        let way = self.network.way(link, direction);
        if way.is_closed {
            return;
        }
        way.is_closed = matches!(says, Says::Closed);
        way.last = way.last.max(now + after);
        way.queue.push_back(says);
        let at = way.last;
        self.due.put(at, Due::Deliver(link, direction));
    }

    /// One end is closed: what it has said still arrives.
    pub(super) fn close(&mut self, link: Link, direction: Direction) {
        self.say(link, direction, Says::Closed);
    }

    /// A connection breaks: what is on its way is lost, and each end hears of it in its own time.
    pub(super) fn break_link(&mut self, link: Link) {
        for direction in [Direction::ToLeader, Direction::ToMember] {
            let lost = self.network.way(link, direction).queue.len();
            let kept = self.random.below(lost as u64 + 1) as usize;
            let way = self.network.way(link, direction);
            way.queue.truncate(kept);
            way.is_closed = false;
            self.close(link, direction);
        }
    }

    pub(super) fn deliver(&mut self, link: Link, direction: Direction) {
        let Connection { member, leader, .. } = self.network.links[link];
        let (from, to) = match direction {
            Direction::ToLeader => (member, leader),
            Direction::ToMember => (leader, member),
        };
        let waits = self.network.cut_until(self.now, from, to).or_else(|| {
            let thaws = self.lives[to].frozen_until;
            (thaws > self.now).then_some(thaws)
        });
        if let Some(until) = waits {
            return self.due.put(until, Due::Deliver(link, direction));
        }
        let Some(says) = self.network.way(link, direction).queue.pop_front() else { return };
        self.num_messages += 1;
        let (node, incarnation) = (self.lives[member].node, self.lives[member].incarnation);
        let is_member = self.lives[leader].members.get(&node).is_some_and(|(_, known)| *known == link);
        let is_leader = self.lives[member].leader == Some(link);
        match says {
            Says::Member(msg) if is_member => {
                self.handle(leader, Event::FromMember { node, incarnation, msg })
            }
            Says::Leader(msg) if is_leader => self.handle(member, Event::FromLeader(msg)),
            Says::Closed if direction == Direction::ToLeader => {
                self.close(link, Direction::ToMember);
                if is_member {
                    self.lives[leader].members.remove(&node);
                    self.handle(leader, Event::MemberGone { node, incarnation });
                }
            }
            Says::Closed => {
                self.close(link, Direction::ToLeader);
                if is_leader {
                    self.lives[member].leader = None;
                    self.handle(member, Event::LeaderGone);
                }
            }
            // Of a connection that was replaced since.
            Says::Member(_) | Says::Leader(_) => {}
        }
    }

    /// All connections of a process end with it.
    pub(super) fn close_all(&mut self, life: LifeId) {
        let members = std::mem::take(&mut self.lives[life].members);
        members.into_values().for_each(|(_, link)| self.close(link, Direction::ToMember));
        let leader = self.lives[life].leader.take();
        leader.into_iter().for_each(|link| self.close(link, Direction::ToLeader));
    }

    /// The connections that a life has now.
    pub(super) fn links_of(&self, life: LifeId) -> Vec<Link> {
        let life = &self.lives[life];
        life.leader.into_iter().chain(life.members.values().map(|(_, link)| *link)).collect()
    }
}
