//! What a run does, told from its records and, where it lives, by its leader.

use crate::control::{self, Reply, Request};
use crate::link::Phase;
use crate::segment::{Event, EventKind, Metric};
use crate::{Body, CommitRef, Generation, Membership, Outcome, Result, RunDir, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the leader of a living run knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The generation it leads.
    pub generation: Generation,
    /// What its workers do.
    pub phase: Phase,
    /// Steps done.
    pub step: Step,
    /// Steps in all, once a worker said so.
    pub total_steps: Option<Step>,
    /// Last loss.
    pub loss: Option<f64>,
    /// Samples per second of the last interval.
    pub samples_per_second: Option<f64>,
    /// Results of the last evaluation.
    pub eval: BTreeMap<String, f64>,
    /// Nodes that are here.
    pub nodes_ready: u32,
}

/// A run's state, in the words of the status table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Started, no generation yet, nobody answers.
    Waiting,
    /// Between a generation's record and its first step.
    Starting,
    /// Training or evaluating.
    Running,
    /// Its processes are gone without an end record: a launch carries on.
    Interrupted,
    /// Stopped on request; a launch carries on.
    Stopped,
    /// All steps done.
    Done,
    /// It can't go on.
    Failed,
}

/// A checkpoint as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStatus {
    /// Its step.
    pub step: Step,
    /// Full URI of its commit record's folder of files.
    pub uri: String,
    /// Seconds since it was committed.
    pub age_seconds: i64,
}

/// One line of `lockstep status`; field names are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The run's name.
    pub name: String,
    /// URI of the run's folder.
    pub run_dir: String,
    /// What it does.
    pub phase: RunPhase,
    /// Steps done.
    pub step: Step,
    /// Steps in all.
    pub total_steps: Option<Step>,
    /// Last loss.
    pub loss: Option<f64>,
    /// Results of the last evaluation.
    pub eval: BTreeMap<String, f64>,
    /// Samples per second of the last interval.
    pub samples_per_second: Option<f64>,
    /// Seconds to the last step at the present speed; none where it doesn't train.
    pub eta_seconds: Option<f64>,
    /// The newest generation that was formed; the record of a run's end has a number after it.
    pub generation: Generation,
    /// How often a fault made a new generation.
    pub restarts: u32,
    /// Nodes that are here, of those the job asks for.
    pub nodes: (u32, u32),
    /// The newest checkpoint that may be loaded.
    pub last_checkpoint: Option<CheckpointStatus>,
    /// From the launch command to the end of the first step; on a cluster, whose agents don't know of the command, from the
    /// start of the first agent, except in what `launch` says of a start that it saw.
    pub time_to_first_step_seconds: Option<f64>,
    /// Why it is as it is.
    pub why: Option<String>,
}

impl RunDir {
    /// Reads the records and asks the leader, within `deadline`; `None` where no run was ever started here.
    pub async fn status(&self, deadline: Duration) -> Result<Option<RunStatus>> {
        let Some(run) = self.run().await? else { return Ok(None) };
        let memberships = self.memberships().await?;
        let newest = memberships.values().next_back();
        let live = match newest.map(|m| &m.body) {
            Some(Body::Formed { .. }) => match control::ask(self, Request::Status, deadline).await {
                Ok(Some(Reply::Status(live))) => Some(*live),
                Ok(_) | Err(_) => None,
            },
            _ => None,
        };
        let lineage = self.lineage(newest.map_or(Generation(0), |m| m.generation)).await?;
        let last_checkpoint = match lineage.first() {
            Some(checkpoint) => self.checkpoint_status(*checkpoint).await?,
            None => None,
        };
        let (metrics, events) = (self.metrics().await?, self.events().await?);
        let mut status = fold(&memberships, live.as_ref(), &metrics, &events);
        status.step = status.step.max(last_checkpoint.as_ref().map_or(Step(0), |c| c.step));
        Ok(Some(RunStatus { name: run.name, run_dir: self.uri(""), last_checkpoint, ..status }))
    }

    async fn checkpoint_status(&self, checkpoint: CommitRef) -> Result<Option<CheckpointStatus>> {
        let Ok(commit) = self.read_commit(checkpoint).await else { return Ok(None) };
        let age_seconds = jiff::Timestamp::now().duration_since(commit.at).as_secs();
        Ok(Some(CheckpointStatus { step: commit.step, uri: self.uri(&commit.folder), age_seconds }))
    }
}

/// Everything that follows from the records alone, whose reader fills in name, folder and checkpoint.
fn fold(
    memberships: &BTreeMap<Generation, Membership>,
    live: Option<&Live>,
    metrics: &[Metric],
    events: &[Event],
) -> RunStatus {
    let newest = memberships.values().next_back();
    let formed = memberships.values().rev().find(|m| m.outcome().is_none());
    let last = metrics.iter().rev().find(|m| m.loss.is_some());
    let eval = metrics.iter().rev().find(|m| !m.eval.is_empty()).map(|m| m.eval.clone());
    let first_step = events.iter().rev().find(|e| e.kind == EventKind::FirstStep);
    let num_nodes = memberships.values().rev().map(|m| m.members().len() as u32).find(|n| *n > 0);
    let (phase, why) = phase(newest, live);
    let eta = metrics.last().filter(|_| phase == RunPhase::Running).and_then(|last| {
        let first = metrics.iter().find(|metric| metric.generation == last.generation)?;
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        eta_seconds(first.step, last.step, last.total_steps, seconds)
    });
    RunStatus {
        name: String::new(),
        run_dir: String::new(),
        phase,
        step: live.map(|l| l.step).or(metrics.last().map(|m| m.step)).unwrap_or_default(),
        total_steps: live.and_then(|l| l.total_steps).or(metrics.last().map(|m| m.total_steps)),
        loss: live.and_then(|l| l.loss).or(last.and_then(|m| m.loss)),
        eval: live.map(|l| l.eval.clone()).filter(|e| !e.is_empty()).or(eval).unwrap_or_default(),
        samples_per_second: live
            .and_then(|l| l.samples_per_second)
            .or(last.and_then(|m| m.samples_per_second)),
        eta_seconds: eta,
        generation: formed.map_or(Generation(0), |m| m.generation),
        restarts: memberships.values().filter(|m| m.is_restart()).count() as u32,
        nodes: (live.map_or(0, |l| l.nodes_ready), num_nodes.unwrap_or(0)),
        last_checkpoint: None,
        time_to_first_step_seconds: first_step.and_then(|e| e.seconds),
        why,
    }
}

/// Seconds to step `total` at the mean speed of the steps from `first` to `last`, which took `seconds`.
pub fn eta_seconds(first: Step, last: Step, total: Step, seconds: f64) -> Option<f64> {
    let done = last.0.checked_sub(first.0).filter(|steps| *steps > 0)?;
    Some(total.0.saturating_sub(last.0) as f64 * seconds / done as f64)
}

fn phase(newest: Option<&Membership>, live: Option<&Live>) -> (RunPhase, Option<String>) {
    let Some(newest) = newest else {
        return (RunPhase::Waiting, Some("no generation was formed yet".to_owned()));
    };
    match (newest.outcome(), live) {
        (Some(Outcome::Done), _) => (RunPhase::Done, None),
        (Some(Outcome::Stopped { cause, .. }), _) => (RunPhase::Stopped, Some(cause.clone())),
        (Some(Outcome::Failed { error }), _) => (RunPhase::Failed, Some(error.clone())),
        (None, None) => {
            (RunPhase::Interrupted, Some("its processes are gone; launch it again to carry on".to_owned()))
        }
        (None, Some(live)) => {
            let phase = match live.phase {
                Phase::Starting | Phase::FirstStep => RunPhase::Starting,
                Phase::Training | Phase::Evaluating | Phase::Saving => RunPhase::Running,
            };
            (phase, Some(newest.reason.clone()))
        }
    }
}
