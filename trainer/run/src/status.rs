//! What a run does, told from its records and, where it lives, by its leader.

use crate::control::{self, Live, Reply, Request};
use crate::link::Phase;
use crate::number;
use crate::segment::{EVENTS, EventKind, Metric};
use crate::{
    Account, Body, Commit, CommitRef, Generation, GpuOfNode, Membership, Outcome, Progress, Result, RunDir,
    SlowestRank, Step, StepSeconds, account, eta_seconds, gpu,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Nobody can tell: its leader can't be asked, or doesn't answer.
    Unknown,
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
    #[serde(with = "number::option")]
    pub loss: Option<f64>,
    /// Results of the last evaluation.
    #[serde(with = "number::map")]
    pub eval: BTreeMap<String, f64>,
    /// Samples per second of the last interval.
    #[serde(with = "number::option")]
    pub samples_per_second: Option<f64>,
    /// The same in tokens, where the model counts tokens.
    #[serde(with = "number::option")]
    pub tokens_per_second: Option<f64>,
    /// Model FLOP utilisation of the last interval: the share of what the ranks' GPUs can compute at most. Where it is known.
    #[serde(with = "number::option")]
    pub mfu: Option<f64>,
    /// What the time of the last interval went to.
    pub step_seconds: Option<StepSeconds>,
    /// Which rank worked longest in the last interval, where there are several.
    pub slowest_rank: Option<SlowestRank>,
    /// Seconds to the last step at the present speed; none where it doesn't train.
    #[serde(with = "number::option")]
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
    #[serde(with = "number::option")]
    pub time_to_first_step_seconds: Option<f64>,
    /// What GPUs do, in node order; none where workers compute on none, or nobody can tell.
    #[serde(default)]
    pub gpus: Vec<GpuOfNode>,
    /// GPU-seconds that the run has used; none where it has used none.
    #[serde(default, with = "number::option")]
    pub gpu_seconds: Option<f64>,
    /// What every second since the run's first step went to; none before that, and where steps aren't known.
    #[serde(default)]
    pub account: Option<Account>,
    /// The share of that time which went to steps that were done once.
    #[serde(default, with = "number::option")]
    pub goodput: Option<f64>,
    /// Steps that were done again, after faults.
    #[serde(default)]
    pub repeated_steps: Option<u64>,
    /// Workers of the newest generation that were in the one before, and went on with what they held.
    #[serde(default)]
    pub survivors: Option<u32>,
    /// Why it is as it is.
    pub why: Option<String>,
}

/// Events of a run without a launch record are looked through only where they are in so few objects.
const FEW_OBJECTS: usize = 16;

/// So many records of checkpoints are read in search of one that isn't damaged.
const MOST_READ: usize = 4;

/// What was heard of a run's leader.
#[derive(Debug)]
enum Answer {
    Lives(Box<Live>),
    /// None is there.
    Nobody,
    /// It can't be asked, or doesn't answer; holds why.
    Unclear(String),
}

/// What a run's records say, as far as its status needs them.
#[derive(Debug, Default)]
struct Records {
    newest: Option<Membership>,
    /// The newest that was formed.
    formed: Option<Membership>,
    restarts: u32,
    /// The checkpoint that would be loaded.
    commit: Option<Commit>,
    /// The last ones.
    metrics: Vec<Metric>,
    first_step_seconds: Option<f64>,
}

impl Records {
    /// The generation with which the run began from nothing for the last time.
    fn root(&self) -> Generation {
        self.newest.as_ref().and_then(|newest| newest.root).unwrap_or_default()
    }
}

impl RunDir {
    /// Reads the records and asks the leader, within `deadline`; `None` where no run was ever started here.
    ///
    /// The number of requests grows with the logarithm of the number of generations, and with nothing else.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn status(&self, deadline: Duration) -> Result<Option<RunStatus>> {
        let Some(run) = self.run().await? else { return Ok(None) };
        let newest = self.newest_membership().await?;
        let mut asked = self.ask_for_status(newest.as_ref(), deadline).await;
        let mut records = Records { newest, ..Records::default() };
        if let (Some(newest), Answer::Nobody) = (&records.newest, &asked) {
            // Who led it may have left its last word, or have been followed by another, meanwhile.
            if let Some(newer) = self.newest_since(newest.generation).await? {
                asked = self.ask_for_status(Some(&newer), deadline).await;
                records.newest = Some(newer);
            }
        }
        if let Some(newest) = &records.newest {
            records.formed = self.last_formed(newest.clone()).await?;
            records.restarts = self.restarts(newest).await?;
            records.commit = self.newest_readable(newest.generation).await?;
            // One damaged record of what is only nice to know hides nothing else.
            records.first_step_seconds = self.first_step_seconds(&newest.launch).await.unwrap_or_default();
        }
        records.metrics = self.last_metrics(records.root()).await?;
        let mut status = fold(&records, &asked);
        status.last_checkpoint = records.commit.as_ref().map(|commit| self.checkpoint_status(commit));
        Ok(Some(RunStatus { name: run.name, run_dir: self.uri(""), ..status }))
    }

    async fn ask_for_status(&self, newest: Option<&Membership>, deadline: Duration) -> Answer {
        let Some(newest @ Membership { body: Body::Formed { .. }, .. }) = newest else {
            return Answer::Nobody;
        };
        match control::ask_leader(self, newest, Request::Status, deadline).await {
            Ok(Some(Reply::Status(live))) => Answer::Lives(live),
            Ok(_) => Answer::Nobody,
            Err(error) => Answer::Unclear(error.to_string()),
        }
    }

    /// The newest checkpoint of the lineage whose record can be read, among its first ones. Usually that is the first.
    async fn newest_readable(&self, from: Generation) -> Result<Option<Commit>> {
        for most in [1, MOST_READ] {
            let mut left = most;
            let enough = |_: &CommitRef| {
                left -= 1;
                left == 0
            };
            for checkpoint in self.lineage_until(from, enough).await? {
                if let Ok(commit) = self.read_commit(checkpoint).await {
                    return Ok(Some(commit));
                }
            }
        }
        Ok(None)
    }

    async fn first_step_seconds(&self, launch: &str) -> Result<Option<f64>> {
        if let Some(launch) = self.launch(launch).await? {
            return Ok(Some(launch.first_step_seconds));
        }
        // A run of format 0 has no such record.
        if self.segments(EVENTS).await?.len() > FEW_OBJECTS {
            return Ok(None);
        }
        let events = self.events().await?;
        Ok(events.iter().rev().find(|e| e.kind == EventKind::FirstStep).and_then(|e| e.seconds))
    }

    fn checkpoint_status(&self, commit: &Commit) -> CheckpointStatus {
        let age_seconds = jiff::Timestamp::now().duration_since(commit.at).as_secs();
        CheckpointStatus { step: commit.step, uri: self.uri(&commit.folder), age_seconds }
    }
}

/// Everything that follows from the records alone, whose reader fills in name, folder and checkpoint.
fn fold(records: &Records, answer: &Answer) -> RunStatus {
    let live = match answer {
        Answer::Lives(live) => Some(live.as_ref()),
        Answer::Nobody | Answer::Unclear(_) => None,
    };
    let Records { newest, formed, restarts, commit, metrics, first_step_seconds } = records;
    let committed = commit.as_ref().and_then(|c| c.provenance.evaluation.as_ref()).map(|e| &e.results);
    let measured = metrics.iter().rev().map(|m| &m.report.eval).find(|eval| !eval.is_empty());
    let mut known = Progress::default();
    metrics.iter().for_each(|metric| known.merge(metric.report.clone()));
    // The last evaluation alone: another launch's task may have measured something else.
    known.eval = measured.or(committed).cloned().unwrap_or_default();
    if let Some(Live { progress, .. }) = live {
        if !progress.eval.is_empty() {
            known.eval.clear();
        }
        known.merge(progress.clone());
    }
    let (phase, why) = phase(newest.as_ref(), answer);
    let eta = metrics.last().filter(|_| phase == RunPhase::Running).and_then(|last| {
        let first = metrics.iter().find(|metric| metric.generation == last.generation)?;
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        eta_seconds(first.report.step, last.report.step, last.report.total_steps, seconds)
    });
    let gpus = live.map_or_else(Vec::new, |live| GpuOfNode::all(&live.gpus));
    let recorded = newest.as_ref().and_then(|newest| gpu::recorded(newest, metrics));
    let accounted = newest.as_ref().and_then(|newest| account::recorded(newest, metrics));
    let account = live.and_then(|live| live.account).or(accounted);
    RunStatus {
        name: String::new(),
        run_dir: String::new(),
        phase,
        step: known.step.max(commit.as_ref().map_or(Step(0), |c| c.step)),
        total_steps: known.total_steps,
        loss: known.loss,
        eval: known.eval,
        samples_per_second: known.samples_per_second,
        tokens_per_second: known.tokens_per_second,
        mfu: known.mfu,
        step_seconds: known.step_seconds,
        slowest_rank: known.slowest_rank,
        eta_seconds: eta,
        generation: formed.as_ref().map_or(Generation(0), |m| m.generation),
        restarts: *restarts,
        nodes: (live.map_or(0, |l| l.nodes_ready), formed.as_ref().map_or(0, |m| m.members().len() as u32)),
        last_checkpoint: None,
        time_to_first_step_seconds: *first_step_seconds,
        gpus,
        gpu_seconds: live.and_then(|live| live.gpu_seconds).or(recorded),
        account,
        goodput: account.as_ref().and_then(Account::goodput),
        repeated_steps: account.map(|account| account.repeated_steps),
        survivors: formed.as_ref().map(|formed| formed.survivors),
        why,
    }
}

fn phase(newest: Option<&Membership>, answer: &Answer) -> (RunPhase, Option<String>) {
    let Some(newest) = newest else {
        return (RunPhase::Waiting, Some("no generation has been formed yet".to_owned()));
    };
    match (newest.outcome(), answer) {
        (Some(Outcome::Done), _) => (RunPhase::Done, None),
        (Some(Outcome::Stopped { cause, .. }), _) => (RunPhase::Stopped, Some(cause.clone())),
        (Some(Outcome::Failed { error }), _) => (RunPhase::Failed, Some(error.clone())),
        (None, Answer::Unclear(why)) => {
            (RunPhase::Unknown, Some(format!("its leader can't be asked: {why}")))
        }
        (None, Answer::Nobody) => {
            (RunPhase::Interrupted, Some("its processes are gone; launch it again to carry on".to_owned()))
        }
        (None, Answer::Lives(live)) => {
            let phase = match live.phase {
                Phase::Starting | Phase::Loading | Phase::FirstStep => RunPhase::Starting,
                Phase::Training | Phase::Evaluating | Phase::Saving => RunPhase::Running,
            };
            (phase, Some(newest.reason.clone()))
        }
    }
}
