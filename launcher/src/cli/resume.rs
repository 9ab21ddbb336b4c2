use crate::cluster::set_suspended;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use serde_json::json;

/// Let a cancelled or suspended run on a cluster go on
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let name = &args.run.run;
        let run = match args.run.find().await? {
            Run::OnCluster(run) => run,
            Run::Stored(_) => {
                return Err(Failure::usage(format!("run {name} is on this machine"))
                    .note("carry on", "launch it again: lockstep launch -f JOB.yaml --local")
                    .into());
            }
        };
        if run.end().is_some() && !run.is_suspended() {
            return Err(Failure::usage(format!("run {name} has ended"))
                .note("carry on", "launch it again: lockstep launch -f JOB.yaml")
                .into());
        }
        if !run.is_suspended() {
            return Err(Failure::usage(format!("run {name} is not suspended")).into());
        }
        set_suspended(&run, false).await?;
        let follow = format!("{} -f      {}", args.run.command("logs"), args.run.command("status"));
        context.output.result(&json!({ "run": name, "suspended": false }), || {
            format!("run {name} goes on; watch it with: {follow}")
        })?;
        Ok(Exit::Done)
    })
}
