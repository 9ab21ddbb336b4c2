//! What must hold at each step of a run, by the numbers of the design. Two of its twelve have no place here: that each call ends by its
//! deadline (8) is the driver's part, as the simulation answers every call; and it has no descriptors, threads or memory that could
//! grow (11).

use super::group::{Says, Stage};
use super::replica::State;
use super::store::Store;
use super::{Life, LifeId, Time};
use lockstep_run::{CommitRef, Generation, Membership, Rank, Step};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Invariants {
    /// What was found broken.
    pub(crate) broken: Vec<String>,
    /// The state after each step of a run that nothing disturbs.
    undisturbed: Vec<State>,
    world_size: u64,
    /// The last generation that applied a step, and the furthest one that it applied.
    trained: Generation,
    furthest: u64,
    furthest_ever: u64,
    /// The newest generation that each life has started.
    started: BTreeMap<LifeId, Generation>,
    /// When a step was last applied for the first time.
    pub(crate) progressed: Time,
    /// How often the newest state was in memory, and how often a checkpoint was read.
    pub(crate) num_from_memory: usize,
    pub(crate) num_from_checkpoint: usize,
}

impl Invariants {
    pub(super) fn must(&mut self, now: Time, what: &str, holds: bool, how: impl FnOnce() -> String) {
        // One of a kind is enough to see what is wrong.
        if !holds && self.broken.len() < 8 {
            self.broken.push(format!("{what}; at {now:?}: {}", how()));
        }
    }

    fn undisturbed(&mut self, step: u64) -> State {
        let size = self.world_size;
        if self.undisturbed.is_empty() {
            self.undisturbed.push(State::INITIAL);
        }
        while self.undisturbed.len() as u64 <= step {
            let last = self.undisturbed[self.undisturbed.len() - 1];
            self.undisturbed.push(last.next(size));
        }
        self.undisturbed[step as usize]
    }

    /// So many ranks there are.
    pub(super) fn of(&mut self, world_size: u64) {
        self.world_size = world_size;
    }

    /// An agent starts workers.
    pub(super) fn on_start(
        &mut self,
        now: Time,
        id: LifeId,
        life: &Life,
        record: &Membership,
        store: &Store,
    ) {
        let generation = record.generation;
        let truth = store.records.get(&generation);
        self.must(now, "1 at most one membership per generation", truth == Some(record), || {
            format!("node {} starts {record:?}, and the storage has {truth:?}", life.node)
        });
        let before = self.started.insert(id, generation).unwrap_or_default();
        let known = life.machine.known;
        self.must(now, "1 generations grow", before < generation && known <= generation, || {
            format!("node {} starts {generation} after {before}, and knows {known}", life.node)
        });
    }

    /// All ranks of a generation have come to a collective.
    pub(super) fn on_meeting(&mut self, now: Time, generation: Generation, said: &[Says]) {
        let Some(first) = said.first() else { return };
        let (is_one, size) = (said.iter().all(|says| says.stage == first.stage), self.world_size);
        self.must(now, "4 all ranks are in the same collective", is_one && said.len() as u64 == size, || {
            format!("generation {generation}: {said:?}")
        });
        if first.stage == Stage::Training {
            let equal = said.iter().all(|says| (says.state, says.share.0) == (first.state, first.share.0));
            self.must(now, "4 each rank is once in the sum of a step, from the same state", equal, || {
                format!("generation {generation}: {said:?}")
            });
        }
    }

    /// The ranks of a generation have told one another what they hold.
    pub(super) fn on_take_up(
        &mut self,
        now: Time,
        generation: Generation,
        states: &[Option<State>],
        saved: Option<Step>,
        newest: Option<(Rank, Step)>,
        trained_in: &[Generation],
    ) {
        let told = || format!("generation {generation}: {states:?}, checkpoint {saved:?}, taken {newest:?}");
        let held = states.iter().flatten().map(|state| state.step).max();
        let saved = saved.map(|step| step.0);
        // A state of step 0 is as good as none.
        let from = newest.map(|(_, step)| step.0).or(saved).unwrap_or_default();
        self.must(
            now,
            "9 the checkpoint is read only where nothing as new is in memory",
            from >= held.unwrap_or(0),
            told,
        );
        self.must(now, "9 nothing older than the checkpoint is taken", from >= saved.unwrap_or(0), told);
        *match newest {
            Some(_) => &mut self.num_from_memory,
            None => &mut self.num_from_checkpoint,
        } += 1;
        if let Some((rank, step)) = newest {
            let source = states.get(rank.0 as usize).copied().flatten();
            let whole = Some(self.undisturbed(step.0));
            self.must(now, "10 a corrupt source is never the source", source == whole, told);
        }
        let (trained, furthest) = (self.trained, self.furthest);
        let survives = states.iter().zip(trained_in).any(|(state, in_)| state.is_some() && *in_ == trained);
        let repeated = furthest.saturating_sub(from);
        self.must(
            now,
            "7 at most one step is repeated where somebody survives",
            !survives || repeated <= 1,
            || format!("{}; {repeated} steps again, trained in {trained_in:?}, last was {trained}", told()),
        );
    }

    /// A rank has applied a step.
    pub(super) fn on_apply(
        &mut self,
        now: Time,
        generation: Generation,
        life: &Life,
        state: State,
        of_all: impl Iterator<Item = u64>,
        store: &Store,
    ) {
        let (node, step) = (life.node, state.step);
        let mine = (node, life.incarnation);
        let newest = store.records.get(&self.trained).filter(|_| self.trained > generation);
        let takes_part = newest.is_some_and(|r| r.members().iter().any(|m| (m.node, m.incarnation) == mine));
        self.must(now, "2 no two ranks apply a step under different memberships", !takes_part, || {
            format!("node {node} applies step {step} under generation {generation}, and is in a newer one")
        });
        let (least, most) =
            of_all.fold((u64::MAX, 0), |(least, most), step| (least.min(step), most.max(step)));
        self.must(now, "3 replicas differ by one step at most", most <= least + 1, || {
            format!("generation {generation}: from {least} to {most}")
        });
        let whole = self.undisturbed(step);
        self.must(now, "5 the bits are those of a run that nothing disturbs", state == whole, || {
            format!("generation {generation}, node {node}: {state:?} in place of {whole:?}")
        });
        if generation > self.trained {
            (self.trained, self.furthest) = (generation, step);
        }
        self.furthest = self.furthest.max(step);
        if step > self.furthest_ever {
            (self.furthest_ever, self.progressed) = (step, now);
        }
    }

    /// A checkpoint's record is made.
    pub(super) fn on_checkpoint(&mut self, now: Time, checkpoint: CommitRef, state: State) {
        let whole = self.undisturbed(checkpoint.step.0);
        self.must(now, "5 a checkpoint holds what a run has that nothing disturbs", state == whole, || {
            format!("{checkpoint:?}: {state:?}")
        });
    }

    /// What must hold once all is over.
    pub(super) fn on_end(&mut self, now: Time, store: &Store) {
        let numbers: Vec<u64> = store.records.keys().map(|generation| generation.0).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        self.must(now, "1 generations have no gaps", numbers == expected, || format!("{numbers:?}"));
        let starts = store.records.values().filter_map(|record| match &record.body {
            lockstep_run::Body::Formed { start_from, .. } => start_from.commit().map(|commit| commit.step),
            lockstep_run::Body::Ended { .. } => None,
        });
        let starts: Vec<_> = starts.collect();
        self.must(now, "5 no checkpoint is gone back behind", starts.is_sorted(), || format!("{starts:?}"));
    }
}
