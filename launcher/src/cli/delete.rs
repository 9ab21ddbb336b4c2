use crate::cluster;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use serde_json::json;

/// Take a run's objects off the cluster; what it stored stays
///
/// Its pods leave after a checkpoint, as with cancel. Launching it again carries on from there.
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
            Run::Stored(dir) => {
                return Err(Failure::usage(format!("run {name} is on this machine, and so has no objects"))
                    .note("stop it", format!("lockstep cancel {name}"))
                    .note("its files", dir.uri(""))
                    .into());
            }
        };
        cluster::remove(&run.cluster, name).await?;
        let stays = run.run_dir().unwrap_or_default();
        context.output.result(&json!({ "run": name, "deleted": true, "run_dir": stays }), || {
            format!("deleted the Job, Service and ConfigMap of {name}; {stays} stays")
        })?;
        Ok(Exit::Done)
    })
}
