use crate::{Body, CommitRef, Generation, Membership, StartFrom, Step};
use std::collections::{BTreeSet, VecDeque};

/// The way back through a run's checkpoints, best first; it asks for one membership record at a time.
///
/// Which one is newest is a question of lineage, not of numbers: a generation's own commits, highest step first, then
/// those that it started from, and on from there. A branch that was left by `--resume STEP` or `--fresh` is never picked up
/// again. Records are asked for only while a commit of an older generation is left, so a long run with few checkpoints takes
/// few.
#[derive(Debug)]
pub struct Lineage {
    commits: BTreeSet<CommitRef>,
    found: VecDeque<CommitRef>,
    /// The generation whose record comes next, and the newest of the steps that count.
    at: Option<(Generation, Step)>,
}

/// What whoever asked for a checkpoint hears where the lineage has none, or none of that step.
pub fn no_checkpoint(step: Option<Step>, lineage: &[CommitRef]) -> String {
    let Some(step) = step else {
        return "there is no checkpoint to resume from; launch without `--resume must` to start over"
            .to_owned();
    };
    let steps: Vec<_> = lineage.iter().map(|commit| commit.step.to_string()).collect();
    let there = match steps.is_empty() {
        true => "the run has none".to_owned(),
        false => format!("choose one of these steps: {}", steps.join(", ")),
    };
    format!("there is no checkpoint of step {step} to resume from; {there}")
}

/// What comes next on a [`Lineage`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A checkpoint.
    Checkpoint(CommitRef),
    /// The membership record of this generation is needed: hand it to [`Lineage::take`].
    Record(Generation),
    /// There are no more.
    End,
}

impl Lineage {
    /// What generation `from` may load, of all `commits`.
    pub fn new(commits: BTreeSet<CommitRef>, from: Generation) -> Self {
        let mut lineage = Self { commits, found: VecDeque::new(), at: None };
        lineage.go_to(from, Step(u64::MAX));
        lineage
    }

    /// What is left, of all `commits`, where `chosen` can't be loaded.
    pub fn before(mut commits: BTreeSet<CommitRef>, chosen: CommitRef) -> Self {
        commits.remove(&chosen);
        let mut lineage = Self { commits, found: VecDeque::new(), at: None };
        lineage.go_to(chosen.generation, chosen.step);
        lineage
    }

    /// The next checkpoint, or what is needed to find it.
    pub fn next_step(&mut self) -> Next {
        match (self.found.pop_front(), self.at) {
            (Some(checkpoint), _) => Next::Checkpoint(checkpoint),
            (None, Some((generation, _))) => Next::Record(generation),
            (None, None) => Next::End,
        }
    }

    /// Takes the record that [`Next::Record`] asked for; `None` where there is none.
    pub fn take(&mut self, record: Option<&Membership>) {
        let Some((generation, newest)) = self.at.take() else { return };
        let Some(record) = record else { return };
        let before = match &record.body {
            Body::Formed { start_from: StartFrom::Commit(c) | StartFrom::Local(c), .. } => {
                (c.generation, c.step)
            }
            Body::Ended { previous, .. } => (*previous, newest),
            Body::Formed {
                start_from: StartFrom::Fresh | StartFrom::Warm(_) | StartFrom::Weights(_),
                ..
            } => return,
        };
        let root = record.root.unwrap_or_default();
        // Generations only grow, so a record that points forward is damaged: stop rather than go round in circles.
        if before.0 < generation && self.has_any(root, before.0) {
            self.go_to(before.0, before.1);
        }
    }

    fn go_to(&mut self, generation: Generation, newest: Step) {
        let of_this = CommitRef { generation, step: Step(0) }..=CommitRef { generation, step: newest };
        self.found.extend(self.commits.range(of_this).rev());
        self.at = self.has_older(generation).then_some((generation, newest));
    }

    fn has_older(&self, than: Generation) -> bool {
        self.commits.range(..CommitRef { generation: than, step: Step(0) }).next().is_some()
    }

    fn has_any(&self, from: Generation, to: Generation) -> bool {
        let range = CommitRef { generation: from, step: Step(0) }..=CommitRef {
            generation: to,
            step: Step(u64::MAX),
        };
        from <= to && self.commits.range(range).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, NodeId, Outcome, RunUid, Writer};
    use std::collections::BTreeMap;

    /// All of a lineage, and how many records it took.
    fn candidates(
        memberships: &BTreeMap<Generation, Membership>,
        commits: &BTreeSet<CommitRef>,
        from: Generation,
    ) -> (Vec<CommitRef>, usize) {
        walk(memberships, Lineage::new(commits.clone(), from))
    }

    fn walk(memberships: &BTreeMap<Generation, Membership>, mut lineage: Lineage) -> (Vec<CommitRef>, usize) {
        let (mut found, mut records) = (vec![], 0);
        loop {
            match lineage.next_step() {
                Next::Checkpoint(checkpoint) => found.push(checkpoint),
                Next::Record(generation) => {
                    records += 1;
                    lineage.take(memberships.get(&generation));
                }
                Next::End => return (found, records),
            }
        }
    }

    fn record(generation: u64, body: Body) -> (Generation, Membership) {
        let generation = Generation(generation);
        let writer = Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 0 };
        let (run_uid, at) = (RunUid("r".into()), jiff::Timestamp::UNIX_EPOCH);
        (
            generation,
            Membership {
                run_uid,
                generation,
                writer,
                launch: String::new(),
                launched_at: None,
                restarts: None,
                launch_restarts: 0,
                root: None,
                gpu_seconds: None,
                account: None,
                survivors: 0,
                at,
                reason: String::new(),
                body,
            },
        )
    }

    fn formed(generation: u64, start_from: StartFrom) -> (Generation, Membership) {
        let (members, leader, job) = (vec![], NodeId(0), serde_json::Value::Null);
        record(generation, Body::Formed { members, leader, start_from, job, restart: false })
    }

    fn ended(generation: u64, previous: u64) -> (Generation, Membership) {
        record(generation, Body::Ended { outcome: Outcome::Done, previous: Generation(previous) })
    }

    fn c(generation: u64, step: u64) -> CommitRef {
        CommitRef { generation: Generation(generation), step: Step(step) }
    }

    #[test]
    fn follows_the_lineage() {
        let from = StartFrom::Commit;
        let commits: BTreeSet<_> = [c(1, 100), c(1, 200), c(1, 300), c(2, 250), c(2, 350), c(5, 50)].into();
        let cases: [(&str, Vec<_>, u64, Vec<_>); 6] = [
            ("one generation", vec![formed(1, StartFrom::Fresh)], 1, vec![c(1, 300), c(1, 200), c(1, 100)]),
            (
                "a step trained again belongs to the later generation",
                vec![formed(1, StartFrom::Fresh), formed(2, from(c(1, 200)))],
                2,
                vec![c(2, 350), c(2, 250), c(1, 200), c(1, 100)],
            ),
            (
                "an ended run is looked through",
                vec![formed(1, StartFrom::Fresh), formed(2, from(c(1, 200))), ended(3, 2)],
                3,
                vec![c(2, 350), c(2, 250), c(1, 200), c(1, 100)],
            ),
            (
                "the branch that --fresh left is gone",
                vec![formed(1, StartFrom::Fresh), ended(2, 1), formed(5, StartFrom::Fresh)],
                5,
                vec![c(5, 50)],
            ),
            (
                "resume at an older step leaves the newer ones",
                vec![formed(1, StartFrom::Fresh), formed(4, from(c(1, 100)))],
                4,
                vec![c(1, 100)],
            ),
            (
                "a record that points at itself ends the walk",
                vec![formed(1, from(c(1, 100)))],
                1,
                vec![c(1, 300), c(1, 200), c(1, 100)],
            ),
        ];
        for (what, records, generation, expected) in cases {
            let (found, _) = candidates(&records.into_iter().collect(), &commits, Generation(generation));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn where_the_chosen_one_is_damaged_its_own_lineage_goes_on() {
        let commits: BTreeSet<_> = [c(1, 100), c(1, 200), c(1, 300), c(2, 250), c(2, 350)].into();
        let records = BTreeMap::from([formed(1, StartFrom::Fresh), formed(2, StartFrom::Commit(c(1, 200)))]);
        let before = |chosen| walk(&records, Lineage::before(commits.clone(), chosen)).0;
        assert_eq!(before(c(2, 350)), [c(2, 250), c(1, 200), c(1, 100)]);
        // Neither what was saved after it nor the branch that was left.
        assert_eq!(before(c(2, 250)), [c(1, 200), c(1, 100)]);
        assert_eq!(before(c(1, 100)), []);
        // One that somebody deleted has a lineage all the same.
        assert_eq!(before(c(2, 300)), [c(2, 250), c(1, 200), c(1, 100)]);
    }

    #[test]
    fn a_long_run_with_few_checkpoints_takes_few_records() {
        let mut records = BTreeMap::from([formed(1, StartFrom::Fresh)]);
        records.extend((2..=1000).map(|g| formed(g, StartFrom::Commit(c(g - 1, g)))));
        records.values_mut().for_each(|r| r.root = Some(Generation(1)));
        let kept: BTreeSet<_> = [c(998, 999), c(999, 1000), c(1000, 1001)].into();
        let (found, records_read) = candidates(&records, &kept, Generation(1000));
        assert_eq!(found, [c(1000, 1001), c(999, 1000), c(998, 999)]);
        assert_eq!(records_read, 2);
        // What a branch left behind long before this one began is not looked for.
        records.values_mut().for_each(|r| r.root = Some(Generation(900)));
        let with_a_branch = kept.iter().copied().chain([c(17, 5)]).collect();
        assert_eq!(candidates(&records, &with_a_branch, Generation(1000)).1, 3);
    }
}
