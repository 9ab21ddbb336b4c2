//! The runs that are on a cluster, and what they do.

use super::Cluster;
use super::notices;
use super::objects::{is_suspended, queue};
use super::pod_logs::{LogWish, logs};
use super::story::{End, Situation, end_of, tell};
use super::told::Told;
use super::watch::{Mirror, OURS, Scene, concerns, pods_of};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use lockstep_render::{JOB_LABEL, RUN_DIR_ANNOTATION, STORAGE_ANNOTATION};
use lockstep_run::link::Phase;
use lockstep_run::status::{RunPhase, RunStatus};
use lockstep_run::{Account, Progress, RunDir, STANDING_EVERY};
use std::time::Duration;

/// So many lines at the end of each pod's log tell what a run does now.
pub(super) const TAIL: i64 = 3 * STANDING_EVERY as i64;

/// What a run wrote may take so long to be read.
const STORAGE_DEADLINE: Duration = Duration::from_secs(5);

/// A run that has a Job on a cluster.
pub(crate) struct ClusterRun {
    /// Where.
    pub(crate) cluster: Cluster,
    /// Its name, which is its Job's.
    pub(crate) name: String,
    /// Its Job.
    pub(crate) job: Job,
}

impl ClusterRun {
    /// How many nodes its Job wants.
    pub(crate) fn num_nodes(&self) -> u32 {
        let wanted = self.job.spec.as_ref().and_then(|spec| spec.completions);
        wanted.and_then(|nodes| u32::try_from(nodes).ok()).unwrap_or(0)
    }

    /// How its Job ended, as far as the Job itself tells.
    pub(crate) fn end(&self) -> Option<End> {
        end_of(&self.job)
    }

    /// Whether its Job is not to have pods for now.
    pub(crate) fn is_suspended(&self) -> bool {
        is_suspended(&self.job)
    }

    /// Whether Kueue decides when it may have pods.
    pub(crate) fn is_queued(&self) -> bool {
        queue(&self.job).is_some()
    }

    /// URI of the run's folder; none where the Job doesn't say.
    pub(crate) fn run_dir(&self) -> Option<String> {
        run_dir(&self.job)
    }
}

fn run_dir(job: &Job) -> Option<String> {
    let annotations = job.annotations();
    // A scheduled run's Job has a name that nobody knows before.
    annotations.get(RUN_DIR_ANNOTATION).cloned().or_else(|| {
        annotations.get(STORAGE_ANNOTATION).map(|storage| format!("{storage}/{}", job.name_any()))
    })
}

/// The run called `name`; none where the namespace has no such Job of Lockstep's.
///
/// # Errors
/// Where the cluster doesn't show it.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Option<ClusterRun>> {
    let jobs = cluster.api::<Job>();
    let job = cluster.call("get", &format!("Job {name}"), jobs.get_opt(name)).await?;
    let ours = job.filter(|job| job.labels().contains_key(JOB_LABEL));
    Ok(ours.map(|job| ClusterRun { cluster: cluster.clone(), name: name.to_owned(), job }))
}

/// All runs of the namespace that have a Job, in name order.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(crate) async fn list(cluster: &Cluster) -> anyhow::Result<Vec<ClusterRun>> {
    let jobs = cluster.api::<Job>();
    let found = cluster.call("list", "the Jobs", jobs.list(&ListParams::default().labels(OURS))).await?;
    let run = |job: Job| ClusterRun { cluster: cluster.clone(), name: job.name_any(), job };
    Ok(found.items.into_iter().map(run).collect())
}

/// What a run does: from its objects and the newest lines of its pods' logs.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(crate) async fn status(run: &ClusterRun) -> anyhow::Result<RunStatus> {
    Ok(look(run).await?.0)
}

/// The status, and whether the log of node 0 is there, which tells of the whole run.
async fn look(run: &ClusterRun) -> anyhow::Result<(RunStatus, bool)> {
    let ClusterRun { cluster, name, job } = run;
    let pods = cluster.api::<Pod>();
    let of_job = ListParams::default().labels(&pods_of(name));
    let found = cluster.call("list", &format!("pods of {name}"), pods.list(&of_job)).await?;
    let mut scene =
        Scene { jobs: Mirror::listed([job.clone()]), pods: Mirror::listed(found.items), ..Scene::default() };
    let mut situation = tell(&scene, Timestamp::now());
    if situation.end.is_none() && situation.started < situation.nodes {
        let all = notices::all(cluster).await?;
        scene.notices = Mirror::listed(all.into_iter().filter(|notice| concerns(notice, name)));
        situation = tell(&scene, Timestamp::now());
    }
    let mut told = Told::default();
    let lines =
        logs(cluster, name, LogWish { tail: Some(TAIL), tellers: true, ..LogWish::default() }).await?;
    lines.iter().for_each(|line| told.take(line));
    Ok((describe(name, job, &situation, &told), lines.iter().any(|line| line.node == 0)))
}

/// The same, and of a run that ended and whose node 0 has no log any more what it wrote to its storage, if this machine reads it.
///
/// # Errors
/// Where the cluster doesn't show the run's objects.
pub(crate) async fn whole_status(run: &ClusterRun) -> anyhow::Result<RunStatus> {
    let (mut status, is_told) = look(run).await?;
    let is_over = matches!(status.phase, RunPhase::Done | RunPhase::Stopped | RunPhase::Failed);
    if !is_over || is_told {
        return Ok(status);
    }
    match tokio::time::timeout(STORAGE_DEADLINE, stored(&status.run_dir)).await {
        Ok(Some(stored)) => {
            // How it ended is for the cluster to say.
            let RunStatus { name, phase, nodes, why, .. } = status;
            Ok(RunStatus { name, phase, nodes, why, ..stored })
        }
        _ => {
            let gone = format!(
                "the log of its node 0 is gone, and {} can't be read from this machine",
                status.run_dir
            );
            status.why = Some(status.why.map_or(gone.clone(), |why| format!("{why}; {gone}")));
            Ok(status)
        }
    }
}

async fn stored(run_dir: &str) -> Option<RunStatus> {
    RunDir::open(run_dir).ok()?.status(STORAGE_DEADLINE).await.ok()?
}

/// The status that follows from what is known.
pub(super) fn describe(name: &str, job: &Job, situation: &Situation, told: &Told) -> RunStatus {
    let (phase, why) = phase(name, situation, told);
    let Progress {
        step,
        total_steps,
        loss,
        samples_per_second,
        tokens_per_second,
        mfu,
        step_seconds,
        slowest_rank,
        eval,
    } = told.progress();
    let last_checkpoint = told.checkpoint();
    // One that stands still carries on from its checkpoint, which may be later than the last step that was told of.
    let stands = matches!(phase, RunPhase::Stopped | RunPhase::Interrupted);
    let step = last_checkpoint.as_ref().filter(|_| stands).map_or(step, |checkpoint| checkpoint.step);
    RunStatus {
        name: name.to_owned(),
        run_dir: run_dir(job).unwrap_or_default(),
        phase,
        step,
        total_steps,
        loss,
        eval,
        samples_per_second,
        tokens_per_second,
        mfu,
        step_seconds,
        slowest_rank,
        eta_seconds: told.eta_seconds().filter(|_| phase == RunPhase::Running),
        generation: told.generation,
        restarts: told.restarts,
        nodes: (situation.started, situation.nodes),
        last_checkpoint,
        time_to_first_step_seconds: told.first_step_seconds,
        gpus: told.gpus.iter().filter(|_| phase == RunPhase::Running).cloned().collect(),
        gpu_seconds: told.gpu_seconds,
        account: told.account,
        goodput: told.account.as_ref().and_then(Account::goodput),
        repeated_steps: told.account.map(|account| account.repeated_steps),
        survivors: told.survivors,
        why,
    }
}

fn phase(name: &str, situation: &Situation, told: &Told) -> (RunPhase, Option<String>) {
    let wait = situation.waits.first().map(ToString::to_string);
    match &situation.end {
        Some(End::Done) => (RunPhase::Done, None),
        Some(End::Stopped(cause)) => (RunPhase::Stopped, Some(cause.clone())),
        Some(End::Failed(error)) => (RunPhase::Failed, Some(error.clone())),
        Some(End::Suspended) => {
            (RunPhase::Stopped, Some(format!("suspended; resume with: lockstep resume {name}")))
        }
        Some(End::Deleted) => (RunPhase::Interrupted, Some("its Job was deleted".to_owned())),
        None if situation.started == 0 => {
            (RunPhase::Waiting, wait.or_else(|| Some("its pods start".to_owned())))
        }
        None if told.phase == Phase::Starting && !told.has_stepped() => {
            (RunPhase::Starting, wait.or_else(|| told.waiting.clone()))
        }
        None if situation.started < situation.nodes => (RunPhase::Starting, wait),
        None => {
            (RunPhase::Running, told.waiting.clone().or_else(|| told.last.as_ref().map(|e| e.text.clone())))
        }
    }
}
