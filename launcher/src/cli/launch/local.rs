//! A launch on this machine.

use super::dry_run::Plan;
use super::{Args, command, deliver, differ, fresh_command, plural, starts_over, summary};
use crate::local::{self, Ended, Launch, Origin, RunLock, Taken};
use crate::output::{patiently, say, tell};
use crate::plain::plain_line;
use crate::preflight::{Decision, Found, decide};
use crate::signals::Signals;
use crate::view::{Followed, View};
use crate::{Context, Exit, Failure, environment, runs, shell};
use lockstep_job::{Device, JobSpec, OnThisMachine, Resume};
use lockstep_run::checkpoint::no_checkpoint;
use lockstep_run::control::{self, Request};
use lockstep_run::layout::CONTROL_KEY;
use lockstep_run::status::RunPhase;
use lockstep_run::{Body, CommitRef, Outcome, RunDir, Step};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a leader may take to say what it does.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

pub(super) async fn launch(
    args: &Args,
    context: &Context,
    here: &OnThisMachine,
    launched_at: Duration,
) -> anyhow::Result<Exit> {
    let job = &here.job;
    let run_dir = run_dir(args, here)?;
    let dir = RunDir::open(&run_dir)?;
    let json = serde_json::to_value(job)?;
    let lock = RunLock::take(&dir.uri("")).await;
    let found = found(&dir, matches!(lock, Taken::Held(_))).await?;
    match decide(&found, &json, args.start.resume()) {
        Decision::Start => check_start(&dir, args.start.resume()).await?,
        Decision::StartsOver => return Err(starts_over(&job.name, &stop(&run_dir))),
        Decision::Done => {
            say!("{} has already finished; start over with: {}", job.name, fresh_command(args));
            return Ok(finish(context, &dir, Exit::Done, &mut Signals::listen()?).await);
        }
        Decision::Attach => return attach(context, job, &dir, &run_dir).await,
        Decision::OtherJobRuns(fields) => {
            let holder = match lock {
                Taken::Held(Some(holder)) => format!(" (process {})", holder.pid),
                _ => String::new(),
            };
            return Err(runs_another(job, &run_dir, &holder, &fields));
        }
        Decision::OtherMeaning(fields) => return Err(holds_another(args, &run_dir, &fields)),
    }
    let (_lock, unlocked) = match lock {
        Taken::Ours(lock) => (Some(lock), None),
        Taken::Held(_) => return attach(context, job, &dir, &run_dir).await,
        Taken::Nowhere(reason) => (None, Some(reason)),
    };
    check_key(&dir)?;
    let mut signals = Signals::listen()?;
    // The built-in worker prints what the progress line tells already.
    let mut view = View::new(job.command.is_some() || job.worker.is_some());
    view.header(&job.name, &what(job), &run_dir);
    if let Some(reason) = unlocked {
        let text = format!("a second launch of this run could start beside this one: {reason}");
        view.on_trouble("warning", &text);
    }
    let launch = Launch {
        agent: local::sibling("lockstep-agent")?,
        job: json,
        num_nodes: job.nodes,
        ranks_per_node: job.ranks_per_node,
        id: format!("{}-{}", launched_at.as_millis(), std::process::id()),
        launched_at_unix_ms: launched_at.as_millis() as u64,
        resume: args.start.resume(),
        scratch: environment::cache()?.join("local"),
        grace: job.recovery.grace.duration(),
        origin: Origin::of(args.job.folder()).await,
        loopback: local::loopback()?,
        folder: here.folder.as_ref().map(PathBuf::from),
        run_dir,
    };
    let ended = local::run(launch, &dir, &mut view, &mut signals).await;
    view.finish(&mut signals).await;
    conclude(args, context, job, &dir, &ended?, &mut signals).await
}

/// Says what [`launch`] would do, and leaves nothing: no folder, no lock.
pub(super) async fn dry_run(args: &Args, context: &Context, here: &OnThisMachine) -> anyhow::Result<Exit> {
    let (job, run_dir) = (&here.job, run_dir(args, here)?);
    let dir = RunDir::open(&run_dir)?;
    let is_new = !run_dir.contains("://") && !Path::new(&run_dir).exists();
    let found = match is_new {
        true => Found::default(),
        false => found(&dir, RunLock::is_held(&dir.uri("")).await).await?,
    };
    let decision = decide(&found, &serde_json::to_value(job)?, args.start.resume());
    match &decision {
        Decision::OtherJobRuns(fields) => return Err(runs_another(job, &run_dir, "", fields)),
        Decision::OtherMeaning(fields) => return Err(holds_another(args, &run_dir, fields)),
        Decision::StartsOver => return Err(starts_over(&job.name, &stop(&run_dir))),
        Decision::Start => check_start(&dir, args.start.resume()).await?,
        Decision::Attach | Decision::Done => {}
    }
    let status = if is_new { None } else { runs::status(&dir, STATUS_DEADLINE).await? };
    let checkpoint = status.and_then(|status| status.last_checkpoint).map(|checkpoint| checkpoint.step);
    let checkpoint = match args.start.resume() {
        Resume::Fresh => None,
        Resume::At(step) => Some(Step(step)),
        Resume::Auto | Resume::Must => checkpoint,
    };
    Plan::new(&decision, job.name.as_ref(), run_dir, checkpoint).tell(context)
}

fn run_dir(args: &Args, here: &OnThisMachine) -> anyhow::Result<String> {
    match &args.run_dir {
        Some(dir) => runs::absolute(dir),
        None => Ok(format!("{}/{}", runs::absolute(&here.storage)?, here.job.name)),
    }
}

fn runs_another(job: &JobSpec, run_dir: &str, holder: &str, fields: &[String]) -> anyhow::Error {
    Failure::usage(format!("run {} is running{holder} with another job: {}", job.name, differ(fields)))
        .note("stop it", stop(run_dir))
        .note("or", "launch this job under another name, or with another --run-dir")
        .into()
}

fn holds_another(args: &Args, run_dir: &str, fields: &[String]) -> anyhow::Error {
    Failure::usage(format!("{run_dir} holds another job: {}", differ(fields)))
        .note("keep it", "launch this job under another name, or with another --run-dir")
        .note("start over", fresh_command(args))
        .into()
}

fn stop(run_dir: &str) -> String {
    format!("lockstep cancel {}", shell::quote(run_dir))
}

/// Who names a checkpoint that isn't there hears it at once. An agent could only end the run with that, a finished one too.
async fn check_start(dir: &RunDir, resume: Resume) -> anyhow::Result<()> {
    let wanted = match resume {
        Resume::At(step) => Some(Step(step)),
        Resume::Must => None,
        Resume::Auto | Resume::Fresh => return Ok(()),
    };
    let is_wanted = |commit: &CommitRef| wanted.is_none_or(|step| commit.step == step);
    let lineage = dir.lineage_until(dir.newest_generation().await?, is_wanted).await?;
    match lineage.iter().any(is_wanted) {
        true => Ok(()),
        false => Err(Failure::usage(no_checkpoint(wanted, &lineage)).into()),
    }
}

/// Whoever reads the key of a run's control channel can stop the run, or join it.
fn check_key(dir: &RunDir) -> anyhow::Result<()> {
    let path = dir.uri(CONTROL_KEY);
    // A bucket has rights of its own.
    let mode = std::fs::metadata(&path).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("others can read {path} (mode {:03o}), which is the key to this run", mode & 0o777);
    Err(Failure::new(what).note("fix", format!("chmod 600 {}", shell::quote(&path))).into())
}

/// What the run's folder and a leader that may live say.
async fn found(dir: &RunDir, locked: bool) -> anyhow::Result<Found> {
    let newest = dir.newest_membership().await?;
    let outcome = newest.as_ref().and_then(|m| m.outcome().cloned());
    let formed = match newest {
        Some(newest) => dir.last_formed(newest).await?,
        None => None,
    };
    let job = match formed.map(|formed| formed.body) {
        Some(Body::Formed { job, .. }) => Some(job),
        _ => dir.run().await?.map(|r| r.job),
    };
    let lives = locked
        || (outcome.is_none()
            && matches!(control::ask(dir, Request::Status, STATUS_DEADLINE).await, Ok(Some(_))));
    Ok(Found { job, outcome, lives })
}

/// Follows a run that somebody else launched until it ends.
async fn attach(context: &Context, job: &JobSpec, dir: &RunDir, run_dir: &str) -> anyhow::Result<Exit> {
    // Heard from before the user is told that it may be pressed.
    let mut signals = Signals::listen()?;
    let mut view = View::new(false);
    view.header(&job.name, "is running already; Ctrl-C leaves it running", run_dir);
    let lives = async || RunLock::is_held(&dir.uri("")).await;
    let followed = view.follow(dir, STATUS_DEADLINE, lives, &mut signals).await;
    view.finish(&mut signals).await;
    let exit = match followed? {
        Followed::Ended(status) => match status.phase {
            RunPhase::Done => Exit::Done,
            RunPhase::Failed => Exit::Failed,
            _ => Exit::Resumable,
        },
        Followed::Detached(signal) => signal.into(),
        Followed::Abandoned => {
            return Err(Failure::new(format!("the launcher of run {} ended before the run began", job.name))
                .note("start it", "with the same command")
                .into());
        }
    };
    Ok(finish(context, dir, exit, &mut signals).await)
}

async fn conclude(
    args: &Args,
    context: &Context,
    job: &JobSpec,
    dir: &RunDir,
    ended: &Ended,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let folder = dir.uri("");
    let (carry_on, place) = (command(args), shell::quote(folder.trim_end_matches('/')));
    let (exit, last) = match (&ended.outcome, ended.stopped_by) {
        (Some(Outcome::Done), _) => {
            let again = fresh_command(args);
            (Exit::Done, format!("  again       {again}      more  lockstep status {place}"))
        }
        (Some(Outcome::Failed { error }), _) => {
            let failure = Failure::new(format!("run {} failed: {error}", job.name))
                .note("look at", format!("lockstep logs {place}      lockstep events {place}"))
                .note("carry on", carry_on);
            if context.output.format.is_data() {
                finish(context, dir, Exit::Failed, signals).await;
            }
            return Err(failure.into());
        }
        (outcome, signal) => {
            let cause = match outcome {
                Some(Outcome::Stopped { cause, .. }) => cause.as_str(),
                _ => "ended without giving a reason",
            };
            let exit = signal.map_or(Exit::Resumable, Exit::from);
            (exit, format!("stopped ({}). Carry on with: {carry_on}", plain_line(cause)))
        }
    };
    let exit = finish(context, dir, exit, signals).await;
    patiently(move || tell(&last)).await;
    Ok(exit)
}

/// The result: a summary for people, the status for scripts. How the run ended is the exit code, whether or not anybody
/// reads this.
async fn finish(context: &Context, dir: &RunDir, exit: Exit, signals: &mut Signals) -> Exit {
    let status = tokio::select! {
        status = runs::status(dir, STATUS_DEADLINE) => status,
        _ = signals.next() => return exit,
    };
    match status {
        Ok(Some(status)) => deliver(context, context.output.form(&status, || summary(&status))).await,
        Ok(None) => {}
        Err(error) => deliver(context, Err(error.into())).await,
    }
    exit
}

fn what(job: &JobSpec) -> String {
    // Only a worker knows whether it can use a GPU; without a driver there is none.
    let has_driver = || Path::new("/proc/driver/nvidia").exists();
    let by = match job.device {
        _ if job.command.is_some() => "own command",
        Device::Cuda => "cuda, nccl",
        Device::Auto if has_driver() => "device auto",
        Device::Auto | Device::Cpu => "cpu, gloo",
    };
    format!("{} x {}  {by}", plural(job.nodes, "node"), plural(job.ranks_per_node, "rank"))
}
