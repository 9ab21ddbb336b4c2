//! What the ranks of a generation do together. A collective is over at one moment for all, but each rank comes out of it in its own
//! time, and may be struck before: then it has not done what the others have.

use super::replica::{Content, State, share};
use super::worker::{Pid, Works};
use super::{Due, Sim};
use lockstep_run::{Generation, Rank, StartFrom, Step, newest_state};
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups are formed through the leader's store, which is asked again after this.
const AGAIN: Duration = Duration::from_millis(20);
/// `recovery.form`.
const FORM: Duration = Duration::from_secs(10);

pub(super) struct Group {
    size: usize,
    ranks: BTreeMap<Rank, Pid>,
    /// The collective that is under way, counted from 1, and who has come to it.
    meeting: u64,
    said: BTreeMap<Rank, Says>,
    /// Somebody left who takes no part in this collective and those after it.
    lost_from: Option<u64>,
    /// The newest step that one of its ranks has applied.
    pub(super) applied: u64,
}

/// What a rank's next collective is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Forming,
    /// Which step does each hold?
    Asking,
    /// The newest state is handed on by this rank.
    Handing(Rank),
    Comparing,
    Training,
    /// All hold the same last state?
    Agreeing,
}

/// What a rank brings into a collective.
#[derive(Debug, Clone, Copy)]
pub(super) struct Says {
    pub(super) stage: Stage,
    pub(super) state: Option<State>,
    /// Its part of the gradient's sum, and for which step that is.
    pub(super) share: (u64, u64),
}

/// What it hears there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard {
    Formed,
    TakeUp {
        newest: Option<(Rank, Step)>,
        by_all: bool,
    },
    State(State),
    Equal,
    /// They differ; what more than half of the ranks hold is right.
    Differ {
        right: Option<State>,
    },
    Sum(u64),
}

impl Group {
    pub(super) fn enter(&mut self, rank: Rank, pid: Pid) {
        self.ranks.insert(rank, pid);
    }
}

impl Sim {
    pub(super) fn group(&mut self, generation: Generation, size: usize) -> &mut Group {
        let (ranks, said) = (BTreeMap::new(), BTreeMap::new());
        let new = Group { size, ranks, meeting: 1, said, lost_from: None, applied: 0 };
        self.groups.entry(generation).or_insert(new)
    }

    /// It will come to the next collective.
    pub(super) fn come(&mut self, pid: Pid, after: Duration) {
        self.works(after, pid, Works::Comes);
    }

    pub(super) fn comes(&mut self, pid: Pid) {
        let worker = &mut self.workers[pid];
        worker.came += 1;
        let (generation, rank, came) = (worker.generation, worker.rank, worker.came);
        let state = worker.state().or(worker.taken);
        let step = state.map_or(0, |state| state.step) + 1;
        let says = Says { stage: worker.stage, state, share: (step, share(step, u64::from(rank.0))) };
        if says.stage == Stage::Forming {
            // Nobody waits for ever for a peer that doesn't come.
            self.works(FORM, pid, Works::LateToForm);
        }
        let Some(group) = self.groups.get_mut(&generation) else { return };
        group.said.insert(rank, says);
        let (is_whole, meeting) = (group.said.len() == group.size, group.meeting);
        if let Some(from) = group.lost_from.filter(|from| *from <= came) {
            let after = self.moment();
            return self.works(after, pid, Works::LostPeer(from));
        }
        if is_whole {
            let after = self.moment();
            self.later(after, Due::Meet(generation, meeting));
        }
    }

    /// All have come: the collective is over, unless one of them can't be heard now.
    pub(super) fn meet(&mut self, generation: Generation, meeting: u64) {
        let Some(group) = self.groups.get(&generation).filter(|group| group.meeting == meeting) else {
            return;
        };
        let pids: Vec<_> = group.ranks.values().copied().collect();
        let is_in = |pid: &Pid| {
            let worker = &self.workers[*pid];
            worker.lives && !worker.waits && worker.generation == generation
        };
        if !pids.iter().all(is_in) {
            return;
        }
        let forms = group.said.values().any(|says| says.stage == Stage::Forming);
        if self.all_hear(&pids) && (!forms || self.serves(generation)) {
            self.part_from(generation, &pids);
        } else {
            self.later(AGAIN, Due::Meet(generation, meeting));
        }
    }

    fn all_hear(&self, pids: &[Pid]) -> bool {
        let lives = || pids.iter().map(|pid| self.workers[*pid].life);
        let runs = pids.iter().all(|pid| self.workers[*pid].frozen_until <= self.now);
        runs && (!self.network.has_cuts(self.now)
            || lives().all(|a| lives().all(|b| self.network.reaches(self.now, a, b))))
    }

    /// Whether the leader's key-value store of a generation answers.
    fn serves(&self, generation: Generation) -> bool {
        let serves = |id: usize| self.runs(id) && self.lives[id].machine.leads() == Some(generation);
        (0..self.lives.len()).any(serves)
    }

    fn part_from(&mut self, generation: Generation, pids: &[Pid]) {
        let Some(group) = self.groups.get_mut(&generation) else { return };
        group.meeting += 1;
        let said: Vec<Says> = std::mem::take(&mut group.said).into_values().collect();
        let states: Vec<_> = said.iter().map(|says| says.state).collect();
        self.seen.on_meeting(self.now, generation, &said);
        let Some(stage) = said.first().map(|says| says.stage) else { return };
        let heard = match stage {
            Stage::Forming => Heard::Formed,
            Stage::Asking => {
                let held: Vec<_> = states.iter().map(|state| state.map(|state| Step(state.step))).collect();
                let saved = self.workers[pids[0]].start_from.commit().map(|commit| commit.step);
                let newest = newest_state(&held, saved);
                let by_all = held.iter().all(|step| *step == newest.map(|(_, step)| step));
                let trained_in: Vec<_> = pids.iter().map(|pid| self.workers[*pid].trained_in).collect();
                self.seen.on_take_up(self.now, generation, &states, saved, newest, &trained_in);
                Heard::TakeUp { newest, by_all }
            }
            Stage::Handing(source) => match states.get(source.0 as usize).copied().flatten() {
                Some(state) => Heard::State(state),
                None => return,
            },
            Stage::Comparing | Stage::Agreeing if states.iter().all(|state| *state == states[0]) => {
                Heard::Equal
            }
            Stage::Comparing | Stage::Agreeing => {
                let num = |state: &Option<State>| states.iter().filter(|other| *other == state).count();
                let right = states.iter().find(|state| 2 * num(state) > states.len()).copied().flatten();
                Heard::Differ { right }
            }
            Stage::Training => Heard::Sum(said.iter().map(|says| says.share.1).fold(0, u64::wrapping_add)),
        };
        for pid in pids {
            let after = self.moment();
            self.works(after, *pid, Works::Hears(heard));
        }
    }

    /// A rank comes out of a collective.
    pub(super) fn hears(&mut self, pid: Pid, heard: Heard) {
        let worker = &mut self.workers[pid];
        worker.left += 1;
        let next = Duration::from_millis(1);
        match heard {
            Heard::Formed => {
                worker.stage = Stage::Asking;
                self.come(pid, next);
            }
            Heard::TakeUp { newest: None, .. } => {
                (worker.content, worker.trained_in) = (Content::Unknown, Generation(0));
                self.works(Duration::from_millis(20), pid, Works::Loaded);
            }
            Heard::TakeUp { newest: Some((source, step)), by_all } => {
                worker.stage = if by_all { Stage::Comparing } else { Stage::Handing(source) };
                if worker.state().is_none_or(|state| Step(state.step) != step) {
                    (worker.content, worker.trained_in) = (Content::Unknown, Generation(0));
                }
                self.come(pid, next);
            }
            Heard::State(state) => {
                if worker.content == Content::Unknown {
                    let flipped = u64::from(std::mem::take(&mut worker.flips));
                    worker.taken = Some(State { bits: state.bits ^ flipped, ..state });
                }
                worker.stage = Stage::Comparing;
                self.come(pid, next);
            }
            Heard::Differ { right } => {
                let holds = worker.state().or(worker.taken);
                match right.is_some() && holds == right {
                    true => self.leave_part(pid, "another replica differs"),
                    false => self.fail(pid, "the replicas differ"),
                }
            }
            Heard::Equal if worker.stage == Stage::Agreeing => self.save_for_good(pid),
            Heard::Equal => {
                if let Some(state) = worker.taken.take() {
                    worker.content = Content::Held(state);
                }
                (worker.stage, worker.trained_in) = (Stage::Training, worker.generation);
                self.begin_step(pid);
            }
            Heard::Sum(gradient) => self.apply(pid, gradient),
        }
    }

    /// The update: nobody else is heard in it.
    fn apply(&mut self, pid: Pid, gradient: u64) {
        let worker = &mut self.workers[pid];
        let Content::Held(before) = worker.content else { return };
        if std::mem::take(&mut worker.tears) {
            worker.content = Content::Unknown;
            return self.leave_part(pid, "an update was torn");
        }
        let after = before.after(gradient);
        worker.content = Content::Held(after);
        let (generation, life) = (worker.generation, worker.life);
        if let Some(group) = self.groups.get_mut(&generation) {
            if group.applied < after.step {
                group.applied = after.step;
                self.applied.push((generation, after.step));
            }
            let others = group.ranks.values().map(|pid| &self.workers[*pid]);
            let others = others.filter(|other| other.generation == generation && other.lives);
            let steps = others.filter_map(|other| other.state()).map(|state| state.step);
            // Among many, looking at all after each step of each would take longer than the rest.
            let spread = steps.take(64);
            self.seen.on_apply(self.now, generation, &self.lives[life], after, spread, &self.store);
        }
        self.done(pid);
    }

    /// Nobody holds a state as new as the checkpoint: that is read.
    pub(super) fn loaded(&mut self, pid: Pid) {
        if !self.store.is_up(self.now) {
            return self.works(AGAIN * 10, pid, Works::Loaded);
        }
        let worker = &mut self.workers[pid];
        let state = match &worker.start_from {
            StartFrom::Commit(commit) => self.store.commits.get(commit).copied(),
            _ => Some(State::INITIAL),
        };
        let Some(state) = state else { return self.fail(pid, "there is no such checkpoint") };
        (worker.content, worker.stage) = (Content::Held(state), Stage::Comparing);
        self.store.num_requests += 1;
        self.come(pid, Duration::from_millis(1));
    }

    /// A rank has left its generation: the others hear it where they wait for it in a collective from `from` on.
    pub(super) fn leave_group(&mut self, pid: Pid, from: u64) {
        let (generation, rank, life) = {
            let worker = &self.workers[pid];
            (worker.generation, worker.rank, worker.life)
        };
        let Some(group) = self.groups.get_mut(&generation) else { return };
        if group.ranks.get(&rank) != Some(&pid) {
            return;
        }
        if group.lost_from.is_some_and(|known| known <= from) && !self.network.has_cuts(self.now) {
            return;
        }
        group.lost_from = Some(group.lost_from.map_or(from, |known| known.min(from)));
        let others: Vec<_> = group.ranks.values().copied().filter(|other| *other != pid).collect();
        for other in others {
            let worker = &self.workers[other];
            let is_in = worker.lives && !worker.waits && worker.generation == generation;
            if is_in && self.network.reaches(self.now, life, worker.life) {
                let after = self.moment();
                self.works(after, other, Works::LostPeer(from));
            }
        }
    }
}
