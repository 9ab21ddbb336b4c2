use super::Facts;
use crate::machine::{Proposal, leader_is_gone};
use jiff::Timestamp;
use lockstep_job::meaning::{differences, with_meaning};
use lockstep_job::{Resume, WarmStart};
use lockstep_run::checkpoint::no_checkpoint;
use lockstep_run::{Body, CommitRef, Generation, Membership, Outcome, Result, StartFrom, Step, WeightsFrom};
use serde_json::Value;

/// Completes a proposal with what it starts from, and tries to commit it; returns the record that holds.
///
/// Reads the newest records and no others, whatever the run has been through. `counted` are the GPU-seconds of the run up to the
/// end of a generation, where this agent took part in one.
pub(super) async fn propose(
    facts: &Facts,
    proposal: Proposal,
    counted: Option<(Generation, Option<f64>)>,
) -> Result<Membership> {
    let newest = facts.dir.newest_membership().await?;
    let formed = match newest.clone() {
        Some(newest) => facts.dir.last_formed(newest).await?,
        None => None,
    };
    let previous = newest.as_ref().map_or(Generation(0), |m| m.generation);
    // This launch's last generation, if there was one.
    let ours = formed.as_ref().filter(|m| m.launch == facts.args.launch);
    let begun = ours.and_then(|m| match &m.body {
        Body::Formed { start_from, leader, .. } => Some((start_from.clone(), *leader)),
        Body::Ended { .. } => None,
    });
    let (begun, led_by) = begun.unzip();
    let restart = begun.is_some();
    let reason = proposal.reason.unwrap_or_else(|| led_by.map_or("launched".to_owned(), leader_is_gone));
    let body = match proposal.body {
        Err(outcome) => Body::Ended { outcome, previous },
        Ok(members) => match start_from(facts, formed.as_ref(), previous, begun).await? {
            Err(error) => Body::Ended { outcome: Outcome::Failed { error }, previous },
            Ok(start_from) => {
                let leader = facts.writer.node;
                Body::Formed { members, leader, start_from, job: facts.job_json.clone(), restart }
            }
        },
    };
    let again = u32::from(matches!(body, Body::Formed { restart: true, .. }));
    let restarts = match &newest {
        Some(newest) => facts.dir.restarts(newest).await?,
        None => 0,
    };
    let launch_restarts =
        newest.as_ref().filter(|m| m.launch == facts.args.launch).map_or(0, |m| m.launch_restarts);
    let root = match &body {
        Body::Formed {
            start_from: StartFrom::Fresh | StartFrom::Warm(_) | StartFrom::Weights(_), ..
        } => Some(proposal.generation),
        _ => newest.as_ref().and_then(|m| m.root),
    };
    let gpu_seconds = match (counted, &formed, &newest) {
        (Some((generation, seconds)), Some(formed), _) if formed.generation == generation => seconds,
        (_, _, Some(newest)) => facts.dir.gpu_seconds(newest).await?,
        (_, _, None) => None,
    };
    let account = match (proposal.account, &newest) {
        (None, Some(newest)) => facts.dir.account(newest, Timestamp::now()).await?,
        (account, _) => account.map(|account| *account),
    };
    let record = Membership {
        run_uid: facts.run_uid.clone(),
        generation: proposal.generation,
        writer: facts.writer.clone(),
        launch: facts.args.launch.clone(),
        launched_at: Timestamp::from_millisecond(facts.launched_at_unix_ms as i64).ok(),
        restarts: Some(restarts.saturating_add(again)),
        launch_restarts: launch_restarts.saturating_add(again),
        root,
        gpu_seconds,
        account,
        survivors: proposal.survivors,
        at: Timestamp::now(),
        reason,
        body,
    };
    facts.dir.propose(record).await
}

/// What the next generation loads; the inner error is for the user and ends the run.
async fn start_from(
    facts: &Facts,
    formed: Option<&Membership>,
    previous: Generation,
    begun: Option<StartFrom>,
) -> Result<Result<StartFrom, String>> {
    // A launch's wish is obeyed once; after a fault the launch carries on from its own newest checkpoint.
    let resume = if begun.is_some() { Resume::Auto } else { facts.args.resume.or_fresh(facts.args.fresh) };
    let lineage = match resume {
        Resume::Fresh => Vec::new(),
        Resume::At(step) => facts.dir.lineage_until(previous, |c| c.step == Step(step)).await?,
        Resume::Auto | Resume::Must => facts.dir.lineage_until(previous, |_| true).await?,
    };
    let chosen = choose(resume, &lineage);
    if let (Ok(StartFrom::Commit(_)), None) = (&chosen, &begun)
        && let Err(error) = same_run(formed, &facts.job.name, &facts.job_json)
    {
        return Ok(Err(error));
    }
    match (chosen, begun) {
        // Nothing is saved yet, and it begins again with the same.
        (
            Ok(StartFrom::Fresh),
            Some(begun @ (StartFrom::Fresh | StartFrom::Warm(_) | StartFrom::Weights(_))),
        ) => Ok(Ok(begun)),
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
        Some(WarmStart::Weights { uri }) => WeightsFrom::find(uri).await?.map(StartFrom::Weights),
        Some(WarmStart::Previous {}) => {
            Ok(facts.dir.warm_from_previous(&facts.job.name).await?.map_or(StartFrom::Fresh, StartFrom::Warm))
        }
    })
}

/// Refuses checkpoints that another job wrote, whose state would mean something else. On one machine the launcher looks
/// before; a cluster's launcher doesn't see the storage, where the run may be older than its objects.
fn same_run(formed: Option<&Membership>, name: &str, job: &Value) -> Result<(), String> {
    let theirs = formed.and_then(|m| match &m.body {
        Body::Formed { job, .. } => Some(job),
        Body::Ended { .. } => None,
    });
    let fields = theirs.map_or(Vec::new(), |theirs| with_meaning(&differences(theirs, job)));
    match fields.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "run {name} holds another job: {} {}; launch this job under another name, or start over with --fresh",
            fields.join(", "),
            if fields.len() == 1 { "differs" } else { "differ" }
        )),
    }
}

fn choose(resume: Resume, lineage: &[CommitRef]) -> Result<StartFrom, String> {
    let found = match resume {
        Resume::At(step) => lineage.iter().find(|c| c.step == Step(step)),
        Resume::Auto | Resume::Must | Resume::Fresh => lineage.first(),
    };
    match (found, resume) {
        (Some(checkpoint), _) => Ok(StartFrom::Commit(*checkpoint)),
        (None, Resume::Auto | Resume::Fresh) => Ok(StartFrom::Fresh),
        (None, Resume::Must) => Err(no_checkpoint(None, lineage)),
        (None, Resume::At(step)) => Err(no_checkpoint(Some(Step(step)), lineage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Incarnation, NodeId, RunUid, Writer};
    use serde_json::json;

    fn formed(job: Value) -> Membership {
        let (members, leader, start_from, restart) = (Vec::new(), NodeId(0), StartFrom::Fresh, false);
        Membership {
            run_uid: RunUid::random(),
            generation: Generation(1),
            writer: Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 0 },
            launch: "a".to_owned(),
            launched_at: None,
            restarts: None,
            launch_restarts: 0,
            root: None,
            gpu_seconds: None,
            account: None,
            survivors: 0,
            at: Timestamp::UNIX_EPOCH,
            reason: "launched".to_owned(),
            body: Body::Formed { members, leader, start_from, job, restart },
        }
    }

    #[test]
    fn checkpoints_of_another_job_are_refused() {
        let job = |seed: u64, steps: u64| json!({ "train": { "steps": steps, "seed": seed } });
        assert_eq!(same_run(None, "a", &job(0, 10)), Ok(()));
        // More steps are no other job.
        assert_eq!(same_run(Some(&formed(job(0, 10))), "a", &job(0, 20)), Ok(()));
        let other = same_run(Some(&formed(job(0, 10))), "a", &job(5, 10)).unwrap_err();
        assert!(other.contains("run a holds another job: train.seed differs;"), "{other}");
        assert!(other.contains("--fresh"), "{other}");
    }

    #[test]
    fn a_launch_gets_what_it_asks_for_or_hears_what_there_is() {
        let c = |step| CommitRef { generation: Generation(1), step: Step(step) };
        let lineage = [c(300), c(200)];
        let from = |step| Ok(StartFrom::Commit(c(step)));
        assert_eq!(choose(Resume::Auto, &lineage), from(300));
        assert_eq!(choose(Resume::Must, &lineage), from(300));
        assert_eq!(choose(Resume::At(200), &lineage), from(200));
        assert_eq!(choose(Resume::Auto, &[]), Ok(StartFrom::Fresh));
        assert!(choose(Resume::Must, &[]).unwrap_err().contains("no checkpoint"));
        assert!(choose(Resume::At(7), &lineage).unwrap_err().contains("choose one of these steps: 300, 200"));
    }
}
