//! A run of Lockstep's own workers that lives, so that something can be asked of it.

use super::cancel::word;
use crate::local::user;
use crate::runs::{self, Run, RunArg};
use crate::{Failure, keys};
use jiff::Timestamp;
use lockstep_job::JobSpec;
use lockstep_run::status::RunPhase;
use lockstep_run::{Body, Generation, Member, Membership, RunDir, RunRequest, Wish};
use std::time::Duration;

/// How long the leader of a local run may take to say that it lives.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// A run that can be asked.
pub(super) struct LiveRun {
    pub(super) name: String,
    pub(super) dir: RunDir,
    /// The newest, as it was found.
    pub(super) generation: Generation,
    pub(super) members: Vec<Member>,
    pub(super) job: JobSpec,
}

impl LiveRun {
    /// Finds it; `instead` is what helps with a run of a command, which nobody here can ask.
    pub(super) async fn find(run: &RunArg, instead: (&'static str, &str)) -> anyhow::Result<Self> {
        let found = run.find().await?;
        let dir = run.open().await?;
        let name = match &found {
            Run::OnCluster(run) => run.name.clone(),
            Run::Stored(dir) => {
                dir.uri("").trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
            }
        };
        let newest = dir.newest_membership().await?;
        if let Some(outcome) = newest.as_ref().and_then(Membership::outcome) {
            return Err(Failure::usage(format!("run {name} is not running: it {}", word(outcome))).into());
        }
        let Some(Membership { generation, body: Body::Formed { members, job, .. }, .. }) = newest else {
            return Err(Failure::usage(format!("run {name} has no ranks yet"))
                .note("look at", run.command("status"))
                .into());
        };
        let is_gone = match &found {
            Run::OnCluster(run) => run.end().is_some() || run.is_suspended(),
            Run::Stored(dir) => {
                let status = runs::status(dir, ANSWER_DEADLINE).await?;
                status.is_some_and(|status| status.phase == RunPhase::Interrupted)
            }
        };
        if is_gone {
            return Err(Failure::usage(format!(
                "run {name} is not running, or its leader can't be reached from here"
            ))
            .note("look at", run.command("status"))
            .into());
        }
        let job = JobSpec::from_json(job)?;
        if job.command.is_some() {
            let (why, way) = instead;
            return Err(Failure::usage(format!("run {name} runs a command of yours, {why}"))
                .note("instead", way)
                .into());
        }
        Ok(Self { name, dir, generation, members, job })
    }

    /// Puts a request to a generation into the run's folder; returns its number.
    pub(super) async fn ask(&self, generation: Generation, wish: Wish, what: &str) -> anyhow::Result<u64> {
        let request = RunRequest { generation, asked_by: user(), at: Timestamp::now(), wish };
        Ok(self.dir.ask(&request).await.map_err(|error| {
            Failure::new(format!("can't ask run {} for {what}: {error}", self.name))
                .note("fix", keys::how_to_give(&self.dir.uri("")))
        })?)
    }
}
