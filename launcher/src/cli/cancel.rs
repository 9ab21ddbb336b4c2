use crate::cluster::{ClusterRun, end_pods_now, pods_are_gone, set_suspended};
use crate::local::RunLock;
use crate::plain::plain_line;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use lockstep_run::control::{self, Reply, Request};
use lockstep_run::{Outcome, RunDir};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the leader may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// How often the run's records are looked at while it stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Stop a run after a checkpoint; launching it again carries on
///
/// On a cluster, this suspends its Job: the pods leave, and `lockstep resume` lets it go on.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "suspend")]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// Don't wait for a checkpoint; the steps since the last one are lost
    #[arg(long)]
    now: bool,

    /// How long to wait for the end, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let dir = match args.run.find().await? {
            Run::Stored(dir) => dir,
            Run::OnCluster(run) => return suspend(args, context, &run).await,
        };
        if let Some(outcome) = outcome(&dir).await? {
            return Err(Failure::usage(format!(
                "run {} is not running: it {}",
                args.run.run,
                word(&outcome)
            ))
            .into());
        }
        if args.now {
            return kill(args, context, &dir).await;
        }
        let request = Request::Cancel { cause: "cancelled".to_owned() };
        match control::ask(&dir, request, ANSWER_DEADLINE).await? {
            Some(Reply::Accepted) => {}
            Some(_) | None => {
                return Err(Failure::new(format!("run {} has no leader right now", args.run.run))
                    .note("fix", "try again in a few seconds, in case it is forming a new generation; if its processes are gone, it has stopped")
                    .into());
            }
        }
        let since = Instant::now();
        loop {
            if let Some(outcome) = outcome(&dir).await? {
                let json = json!({ "run": args.run.run, "outcome": outcome });
                context.output.result(&json, || format!("run {} {}", args.run.run, word(&outcome)))?;
                return Ok(Exit::Done);
            }
            if since.elapsed() > Duration::from_secs(args.wait) {
                return Err(Failure::new(format!(
                    "run {} has not stopped after {} s",
                    args.run.run, args.wait
                ))
                .note("look at", args.run.command("status"))
                .into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

async fn suspend(args: &Args, context: &Context, run: &ClusterRun) -> anyhow::Result<Exit> {
    let name = &run.name;
    if run.end().is_some() {
        return Err(Failure::usage(format!("run {name} is not running: its Job has ended")).into());
    }
    set_suspended(run, true).await?;
    if args.now
        && let Err(error) = end_pods_now(run).await
    {
        let what =
            format!("run {name} is suspended and leaves after a checkpoint, but not at once: {error:#}");
        return Err(Failure::new(what)
            .note(
                "fix",
                "ask for the component cancel-now of manifests/ in your Role, which may then delete pods",
            )
            .into());
    }
    let since = Instant::now();
    while !pods_are_gone(run).await? {
        if since.elapsed() > Duration::from_secs(args.wait) {
            return Err(Failure::new(format!("the pods of run {name} have not left after {} s", args.wait))
                .note("look at", args.run.command("status"))
                .into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    context.output.result(&json!({ "run": name, "suspended": true }), || {
        format!("run {name} is suspended, its pods have left; go on with: {}", args.run.command("resume"))
    })?;
    Ok(Exit::Done)
}

/// The agents and workers of a local run die with their launcher, however it dies.
async fn kill(args: &Args, context: &Context, dir: &RunDir) -> anyhow::Result<Exit> {
    let name = &args.run.run;
    let Some(launcher) = RunLock::holder(&dir.uri("")).await else {
        let what = match RunLock::is_held(&dir.uri("")).await {
            true => format!("can't prove who launched run {name}, so nothing is killed"),
            false => format!("no launcher of run {name} is alive on this machine"),
        };
        return Err(Failure::new(what).note("without --now", args.run.command("cancel")).into());
    };
    launcher.kill()?;
    context.output.result(&json!({ "run": name, "killed": true }), || {
        format!("run {name} was killed; launching it again carries on from its last checkpoint")
    })?;
    Ok(Exit::Done)
}

async fn outcome(dir: &RunDir) -> anyhow::Result<Option<Outcome>> {
    Ok(dir.newest_membership().await?.and_then(|m| m.outcome().cloned()))
}

/// What has become of a run.
pub(super) fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "is done".to_owned(),
        Outcome::Stopped { cause, .. } => {
            format!("has stopped ({}); launch it again to carry on", plain_line(cause))
        }
        Outcome::Failed { error } => format!("failed: {}", plain_line(error)),
    }
}
