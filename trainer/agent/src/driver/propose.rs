use super::{Facts, Resume};
use crate::machine::Proposal;
use jiff::Timestamp;
use lockstep_jobspec::WarmStart;
use lockstep_run::checkpoint::candidates;
use lockstep_run::{Body, CommitRef, Generation, Membership, Outcome, Result, StartFrom, Step};
use std::collections::BTreeMap;

/// Completes a proposal with what it starts from, and tries to commit it; returns the record that holds.
pub(super) async fn propose(facts: &Facts, proposal: Proposal) -> Result<Membership> {
    let memberships = facts.dir.memberships().await?;
    let previous = memberships.keys().next_back().copied().unwrap_or_default();
    // What this launch's last generation began with, if there was one.
    let begun = memberships.values().rev().find_map(|m| match &m.body {
        Body::Formed { start_from, .. } if m.launch == facts.args.launch => Some(start_from.clone()),
        _ => None,
    });
    let restart = begun.is_some();
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
        reason: proposal.reason,
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
    match (choose(resume, &lineage), begun) {
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
    use lockstep_run::Step;

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
