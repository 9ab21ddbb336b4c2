use crate::cluster::{self, Cluster, ClusterArgs};
use crate::{Context, Exit, block_on};
use serde_json::json;

/// Remove Services, ConfigMaps and policies of jobs that are gone
///
/// They are left behind when somebody deletes a rendered job's Job, or kills a launch half way.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        let names = cluster::leftovers(&cluster).await?;
        if !args.dry_run {
            for name in &names {
                cluster::sweep(&cluster, name).await?;
            }
        }
        let list = names.iter().cloned().collect::<Vec<_>>().join(", ");
        context.output.result(&json!({ "jobs": names, "removed": !args.dry_run }), || {
            match (list.as_str(), args.dry_run) {
                ("", _) => {
                    format!("nothing is left over in namespace {} of {}", cluster.namespace, cluster.context)
                }
                (list, true) => format!("would remove what is left of: {list}"),
                (list, false) => format!("removed what was left of: {list}"),
            }
        })?;
        Ok(Exit::Done)
    })
}
