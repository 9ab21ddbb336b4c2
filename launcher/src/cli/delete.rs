use crate::cluster;
use crate::runs::{Named, Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use serde_json::json;

/// Remove the objects of a run or a schedule from the cluster; what it stored stays
///
/// Its pods leave after a checkpoint, as with cancel. Launching it again carries on from there. Deleting a
/// schedule deletes its runs, too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let name = &args.run.run;
        let run = match args.run.find_named().await? {
            Named::Run(Run::OnCluster(run)) => run,
            Named::Schedule(cluster) => {
                cluster::unschedule(&cluster, name).await?;
                context.output.result(&json!({ "schedule": name, "deleted": true }), || {
                    format!("deleted the schedule {name} and its runs; what they stored stays")
                })?;
                return Ok(Exit::Done);
            }
            Named::Run(Run::Stored(dir)) => {
                return Err(Failure::usage(format!("run {name} is on this machine, and so has no objects"))
                    .note("stop it", args.run.command("cancel"))
                    .note("its files", dir.uri(""))
                    .into());
            }
        };
        cluster::remove(&run.cluster, name).await?;
        let stays = run.run_dir().unwrap_or_default();
        context.output.result(&json!({ "run": name, "deleted": true, "run_dir": stays }), || {
            format!("deleted the objects of {name}; {stays} stays")
        })?;
        Ok(Exit::Done)
    })
}
