use crate::{Body, CommitRef, Generation, Membership, StartFrom, Step};
use std::collections::{BTreeMap, BTreeSet};

/// The checkpoints that generation `from` may load, best first.
///
/// Which one is newest is a question of lineage, not of numbers: a generation's own commits, highest step first, then
/// those that it started from, and on from there. A branch that was left by `--resume RUN@STEP` or `--fresh` is never
/// picked up again.
pub fn candidates(
    memberships: &BTreeMap<Generation, Membership>,
    commits: &BTreeSet<CommitRef>,
    from: Generation,
) -> Vec<CommitRef> {
    let mut found = Vec::new();
    let mut at = (from, Step(u64::MAX));
    loop {
        let (generation, newest) = at;
        let of_this = CommitRef { generation, step: Step(0) }..=CommitRef { generation, step: newest };
        found.extend(commits.range(of_this).rev());
        let before = match memberships.get(&generation).map(|m| &m.body) {
            Some(Body::Formed { start_from: StartFrom::Commit(c), .. }) => (c.generation, c.step),
            Some(Body::Ended { previous, .. }) => (*previous, newest),
            Some(Body::Formed { start_from: StartFrom::Fresh | StartFrom::Warm(_), .. }) | None => {
                return found;
            }
        };
        // Generations only grow, so a record that points forward is damaged: stop rather than go round in circles.
        if before.0 >= generation {
            return found;
        }
        at = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, NodeId, Outcome, RunUid, Writer};

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
            let found = candidates(&records.into_iter().collect(), &commits, Generation(generation));
            assert_eq!(found, expected, "{what}");
        }
    }
}
