use super::{Facts, Resume};
use crate::machine::{Proposal, leader_is_gone};
use jiff::Timestamp;
use lockstep_jobspec::WarmStart;
use lockstep_jobspec::meaning::{differences, with_meaning};
use lockstep_run::checkpoint::candidates;
use lockstep_run::{Body, CommitRef, Generation, Membership, Outcome, Result, StartFrom, Step};
use serde_json::Value;
use std::collections::BTreeMap;

/// Completes a proposal with what it starts from, and tries to commit it; returns the record that holds.
pub(super) async fn propose(facts: &Facts, proposal: Proposal) -> Result<Membership> {
    let memberships = facts.dir.memberships().await?;
    let previous = memberships.keys().next_back().copied().unwrap_or_default();
    // What this launch's last generation began with, and who led it, if there was one.
    let begun = memberships.values().rev().find_map(|m| match &m.body {
        Body::Formed { start_from, leader, .. } if m.launch == facts.args.launch => {
            Some((start_from.clone(), *leader))
        }
        _ => None,
    });
    let (begun, led_by) = begun.unzip();
    let restart = begun.is_some();
    let reason = proposal.reason.unwrap_or_else(|| led_by.map_or("launched".to_owned(), leader_is_gone));
    let body = match proposal.body {
        Err(outcome) => Body::Ended { outcome, previous },
        Ok(members) => match start_from(facts, &memberships, previous, begun).await? {
            Err(error) => Body::Ended { outcome: Outcome::Failed { error }, previous },
            Ok(start_from) => {
                let leader = facts.writer.node;
                Body::Formed { members, leader, start_from, job: facts.job_json.clone(), restart }
            }
        },
    };
    let record = Membership {
        run_uid: facts.run_uid.clone(),
        generation: proposal.generation,
        writer: facts.writer.clone(),
        launch: facts.args.launch.clone(),
        at: Timestamp::now(),
        reason,
        body,
    };
    facts.dir.propose(record).await
}

/// What the next generation loads; the inner error is for the user and ends the run.
async fn start_from(
    facts: &Facts,
    memberships: &BTreeMap<Generation, Membership>,
    previous: Generation,
    begun: Option<StartFrom>,
) -> Result<Result<StartFrom, String>> {
    // A launch's wish is obeyed once; after a fault the launch carries on from its own newest checkpoint.
    let resume = if begun.is_some() { Resume::Auto } else { facts.args.resume };
    let lineage = match resume {
        Resume::Never => Vec::new(),
        _ => candidates(memberships, &facts.dir.commits().await?, previous),
    };
    let chosen = choose(resume, &lineage);
    if let (Ok(StartFrom::Commit(_)), None) = (&chosen, &begun)
        && let Err(error) = same_run(memberships, &facts.job.name, &facts.job_json)
    {
        return Ok(Err(error));
    }
    match (chosen, begun) {
        // Nothing is saved yet, and it begins again with the same.
        (Ok(StartFrom::Fresh), Some(begun @ (StartFrom::Fresh | StartFrom::Warm(_)))) => Ok(Ok(begun)),
        (Ok(StartFrom::Fresh), _) => warm(facts).await,
        (chosen, _) => Ok(chosen),
    }
}

/// What a run without checkpoints begins with.
async fn warm(facts: &Facts) -> Result<Result<StartFrom, String>> {
    Ok(match &facts.job.warm_start {
        None => Ok(StartFrom::Fresh),
        Some(WarmStart::Run { name, step }) => {
            facts.dir.warm_from(name, step.map(Step)).await?.map(StartFrom::Warm)
        }
        Some(WarmStart::Previous {}) => {
            Ok(facts.dir.warm_from_previous(&facts.job.name).await?.map_or(StartFrom::Fresh, StartFrom::Warm))
        }
    })
}

/// Refuses checkpoints that another job wrote, whose state would mean something else. On one machine the launcher looks
/// before; a cluster's launcher doesn't see the storage, where the run may be older than its objects.
fn same_run(memberships: &BTreeMap<Generation, Membership>, name: &str, job: &Value) -> Result<(), String> {
    let theirs = memberships.values().rev().find_map(|m| match &m.body {
        Body::Formed { job, .. } => Some(job),
        Body::Ended { .. } => None,
    });
    let fields = theirs.map_or(Vec::new(), |theirs| with_meaning(&differences(theirs, job)));
    match fields.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "run {name} holds another job: {} differ; launch this job under another name, or start over with --fresh",
            fields.join(", ")
        )),
    }
}

fn choose(resume: Resume, lineage: &[CommitRef]) -> Result<StartFrom, String> {
    let found = match resume {
        Resume::At(step) => lineage.iter().find(|c| c.step == step),
        Resume::Auto | Resume::Must | Resume::Never => lineage.first(),
    };
    match (found, resume) {
        (Some(checkpoint), _) => Ok(StartFrom::Commit(*checkpoint)),
        (None, Resume::Auto | Resume::Never) => Ok(StartFrom::Fresh),
        (None, Resume::Must) => {
            Err("there is no checkpoint to resume from; launch without --resume must to start over"
                .to_owned())
        }
        (None, Resume::At(step)) => {
            let steps: Vec<_> = lineage.iter().map(|c| c.step.to_string()).collect();
            let there = if steps.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are {}", steps.join(", "))
            };
            Err(format!("there is no checkpoint of step {step} to resume from; {there}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Incarnation, NodeId, RunUid, Writer};
    use serde_json::json;

    fn record(generation: u64, body: Body) -> (Generation, Membership) {
        let writer = Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 0 };
        let (launch, at, reason) = ("a".to_owned(), Timestamp::UNIX_EPOCH, "launched".to_owned());
        let generation = Generation(generation);
        (generation, Membership { run_uid: RunUid::random(), generation, writer, launch, at, reason, body })
    }

    #[test]
    fn checkpoints_of_another_job_are_refused() {
        let job = |seed: u64, steps: u64| json!({ "train": { "steps": steps, "seed": seed } });
        let formed = |job| Body::Formed {
            members: Vec::new(),
            leader: NodeId(0),
            start_from: StartFrom::Fresh,
            job,
            restart: false,
        };
        let ended = Body::Ended { outcome: Outcome::Done, previous: Generation(2) };
        let held =
            BTreeMap::from([record(1, formed(job(5, 10))), record(2, formed(job(0, 10))), record(3, ended)]);
        assert_eq!(same_run(&BTreeMap::new(), "a", &job(0, 10)), Ok(()));
        // The newest job counts, and more steps are no other job.
        assert_eq!(same_run(&held, "a", &job(0, 20)), Ok(()));
        let other = same_run(&held, "a", &job(5, 10)).unwrap_err();
        assert!(other.contains("run a holds another job: train.seed differ"), "{other}");
        assert!(other.contains("--fresh"), "{other}");
    }

    #[test]
    fn a_launch_gets_what_it_asks_for_or_hears_what_there_is() {
        let c = |step| CommitRef { generation: Generation(1), step: Step(step) };
        let lineage = [c(300), c(200)];
        let from = |step| Ok(StartFrom::Commit(c(step)));
        assert_eq!(choose(Resume::Auto, &lineage), from(300));
        assert_eq!(choose(Resume::Must, &lineage), from(300));
        assert_eq!(choose(Resume::At(Step(200)), &lineage), from(200));
        assert_eq!(choose(Resume::Auto, &[]), Ok(StartFrom::Fresh));
        assert!(choose(Resume::Must, &[]).unwrap_err().contains("no checkpoint"));
        assert!(choose(Resume::At(Step(7)), &lineage).unwrap_err().contains("there are 300, 200"));
    }
}
