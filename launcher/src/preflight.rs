//! Whether a launch starts, attaches, has nothing to do, or is refused.

use lockstep_job::Resume;
use lockstep_job::meaning::{differences, with_meaning};
use lockstep_run::Outcome;
use serde_json::Value;

/// What to do with a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start, or carry on.
    Start,
    /// The run lives with this very job: follow it.
    Attach,
    /// Every step of this very job is done.
    Done,
    /// The run lives with this very job, but the launch wants it to begin elsewhere.
    StartsOver,
    /// The run lives with another job. Holds the fields that differ.
    OtherJobRuns(Vec<String>),
    /// The run's checkpoints belong to another job. Holds the fields that differ.
    OtherMeaning(Vec<String>),
}

/// What is there already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The job of the newest generation, or of the first start.
    pub(crate) job: Option<Value>,
    /// How the run ended, if it did.
    pub(crate) outcome: Option<Outcome>,
    /// True where a launcher or a leader of it lives.
    pub(crate) lives: bool,
}

/// Decides from what is there and what the launch is to start from.
pub(crate) fn decide(found: &Found, job: &Value, resume: Resume) -> Decision {
    let Some(theirs) = &found.job else { return Decision::Start };
    let differing = differences(theirs, job);
    if found.lives {
        return match resume {
            _ if !differing.is_empty() => Decision::OtherJobRuns(differing),
            Resume::Fresh | Resume::At(_) => Decision::StartsOver,
            Resume::Auto | Resume::Must => Decision::Attach,
        };
    }
    if resume == Resume::Fresh {
        return Decision::Start;
    }
    let meaning = with_meaning(&differing);
    if !meaning.is_empty() {
        return Decision::OtherMeaning(meaning);
    }
    match found.outcome {
        // Whoever names a step wants what follows it anew.
        Some(Outcome::Done) if differing.is_empty() && !matches!(resume, Resume::At(_)) => Decision::Done,
        _ => Decision::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_situation_has_its_decision() {
        let job = |steps: u64, seed: u64| json!({"train": {"steps": steps, "seed": seed}, "optimizer": {"lr": 0.1}});
        let fields = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let found = |outcome, lives| Found { job: Some(job(10, 0)), outcome, lives };
        let (done, failed) = (Some(Outcome::Done), Some(Outcome::Failed { error: "x".into() }));
        let cases = [
            ("nothing there", Found::default(), job(10, 0), Resume::Auto, Decision::Start),
            ("lives, same job", found(None, true), job(10, 0), Resume::Auto, Decision::Attach),
            ("lives, must resume", found(None, true), job(10, 0), Resume::Must, Decision::Attach),
            ("lives, again from nothing", found(None, true), job(10, 0), Resume::Fresh, Decision::StartsOver),
            ("lives, from a step", found(None, true), job(10, 0), Resume::At(5), Decision::StartsOver),
            (
                "lives, other job",
                found(None, true),
                job(11, 1),
                Resume::Fresh,
                Decision::OtherJobRuns(fields(&["train.steps", "train.seed"])),
            ),
            ("interrupted", found(None, false), job(10, 0), Resume::Auto, Decision::Start),
            ("done", found(done.clone(), false), job(10, 0), Resume::Auto, Decision::Done),
            (
                "done, but more steps are wanted",
                found(done.clone(), false),
                job(20, 0),
                Resume::Auto,
                Decision::Start,
            ),
            (
                "done, again from nothing",
                found(done.clone(), false),
                job(10, 0),
                Resume::Fresh,
                Decision::Start,
            ),
            ("done, from a step", found(done.clone(), false), job(10, 0), Resume::At(5), Decision::Start),
            ("done, must resume", found(done.clone(), false), job(10, 0), Resume::Must, Decision::Done),
            ("failed", found(failed.clone(), false), job(10, 0), Resume::Auto, Decision::Start),
            (
                "another seed",
                found(failed.clone(), false),
                job(10, 5),
                Resume::Auto,
                Decision::OtherMeaning(fields(&["train.seed"])),
            ),
            ("another seed, from nothing", found(failed, false), job(10, 5), Resume::Fresh, Decision::Start),
        ];
        for (what, found, job, resume, expected) in cases {
            assert_eq!(decide(&found, &job, resume), expected, "{what}");
        }
    }
}
