//! A launch on this machine.

use super::{Args, command, plural, summary};
use crate::local::{self, Ended, Launch, RunLock, StopSignal};
use crate::preflight::{Decision, Found, decide};
use crate::view::{Followed, View};
use crate::{Context, Exit, Failure, environment, runs};
use lockstep_jobspec::JobSpec;
use lockstep_run::control::{self, Request};
use lockstep_run::status::RunPhase;
use lockstep_run::{Body, Outcome, RunDir};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a leader may take to say what it does.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

pub(super) async fn launch(
    args: &Args,
    context: &Context,
    job: &JobSpec,
    launched_at: Duration,
) -> anyhow::Result<Exit> {
    let run_dir = match &args.run_dir {
        Some(dir) => runs::absolute(dir)?,
        None => runs::absolute(&format!("{}/{}", job.storage.trim_end_matches('/'), job.name))?,
    };
    let dir = RunDir::open(&run_dir)?;
    let json = serde_json::to_value(job)?;
    let lock = RunLock::take(&run_dir)?;
    let found = found(&dir, lock.is_err()).await?;
    match decide(&found, &json, args.start.fresh) {
        Decision::Start => {}
        Decision::Done => {
            eprintln!("{} is done already; start over with: {} --fresh", job.name, command(args));
            return finish(context, &dir, Exit::Done).await;
        }
        Decision::Attach => return attach(context, job, &dir, &run_dir).await,
        Decision::OtherJobRuns(fields) => {
            let holder = lock.err().map_or(String::new(), |pid| format!(" (process {pid})"));
            return Err(Failure::usage(format!(
                "run {} is running{holder} with another job: {} differ",
                job.name,
                fields.join(", ")
            ))
            .note("stop it", format!("lockstep cancel {run_dir}"))
            .note("or", "launch this job under another name, or with another --run-dir")
            .into());
        }
        Decision::OtherMeaning(fields) => {
            return Err(Failure::usage(format!("{run_dir} holds another job: {} differ", fields.join(", ")))
                .note("keep it", "launch this job under another name, or with another --run-dir")
                .note("start over", format!("{} --fresh", command(args)))
                .into());
        }
    }
    let Ok(_lock) = lock else { return attach(context, job, &dir, &run_dir).await };
    // The built-in worker prints what the progress line tells already.
    let mut view = View::new(job.command.is_some() || job.worker.is_some());
    view.header(&job.name, &what(job), &run_dir);
    let launch = Launch {
        agent: local::sibling("lockstep-agent")?,
        job: json,
        num_nodes: job.nodes,
        id: format!("{}-{}", launched_at.as_millis(), std::process::id()),
        launched_at_unix_ms: launched_at.as_millis() as u64,
        resume: args.start.resume().to_owned(),
        scratch: environment::cache()?.join("local"),
        grace: job.recovery.grace.duration(),
        run_dir,
    };
    let ended = local::run(launch, &dir, &mut view).await;
    view.finish();
    let ended = ended?;
    conclude(args, context, job, &dir, &ended).await
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
    let interrupt = signal(SignalKind::interrupt())?;
    let view = View::new(false);
    view.header(&job.name, "is running already; Ctrl-C leaves it running", run_dir);
    let followed = view.follow(dir, STATUS_DEADLINE, || RunLock::is_held(run_dir), interrupt).await;
    view.finish();
    let exit = match followed? {
        Followed::Ended(status) => match status.phase {
            RunPhase::Done => Exit::Done,
            RunPhase::Failed => Exit::Failed,
            _ => Exit::Resumable,
        },
        Followed::Detached => Exit::Interrupted,
        Followed::Abandoned => {
            return Err(Failure::new(format!("the launcher of run {} ended before the run began", job.name))
                .note("start it", "the same command again")
                .into());
        }
    };
    finish(context, dir, exit).await
}

async fn conclude(
    args: &Args,
    context: &Context,
    job: &JobSpec,
    dir: &RunDir,
    ended: &Ended,
) -> anyhow::Result<Exit> {
    let carry_on = command(args);
    match (&ended.outcome, ended.stopped_by) {
        (Some(Outcome::Done), _) => {
            let exit = finish(context, dir, Exit::Done).await?;
            eprintln!(
                "  again       {carry_on} --fresh      more  lockstep status {}",
                dir.uri("").trim_end_matches('/')
            );
            Ok(exit)
        }
        (Some(Outcome::Failed { error }), _) => {
            let failure = Failure::new(format!("run {} failed: {error}", job.name))
                .note(
                    "look at",
                    format!("lockstep logs {0}      lockstep events {0}", dir.uri("").trim_end_matches('/')),
                )
                .note("carry on", carry_on);
            if context.output.format.is_data() {
                finish(context, dir, Exit::Failed).await?;
            }
            Err(failure.into())
        }
        (outcome, signal) => {
            let cause = match outcome {
                Some(Outcome::Stopped { cause, .. }) => cause.as_str(),
                _ => "ended without a last word",
            };
            let exit = match signal {
                Some(StopSignal::Interrupt) => Exit::Interrupted,
                Some(StopSignal::Terminate) => Exit::Terminated,
                None => Exit::Resumable,
            };
            finish(context, dir, exit).await?;
            eprintln!("stopped ({cause}). Carry on with: {carry_on}");
            Ok(exit)
        }
    }
}

/// The result: a summary for people, the status for scripts.
async fn finish(context: &Context, dir: &RunDir, exit: Exit) -> anyhow::Result<Exit> {
    if let Some(status) = dir.status(STATUS_DEADLINE).await? {
        context.output.result(&status, || summary(&status))?;
    }
    Ok(exit)
}

fn what(job: &JobSpec) -> String {
    let by = if job.command.is_some() { "own command" } else { "cpu, gloo" };
    format!("{} x {}  {by}", plural(job.nodes, "node"), plural(job.ranks_per_node, "rank"))
}
