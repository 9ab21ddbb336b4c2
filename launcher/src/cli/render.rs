use lockstep_render::{to_json, to_yaml};

use crate::job_file::rendered;
use crate::{Context, Exit, Format, JobFile};

/// Print the Kubernetes objects for a job, for GitOps or inspection; contacts no cluster
///
/// Prints one YAML document per object, or one list with -o json.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep render -f job.yaml | kubectl apply --server-side -f -")]
pub(super) struct Args {
    #[command(flatten)]
    job: JobFile,

    #[command(flatten)]
    start: super::launch::StartArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let resolved = args.job.resolve()?;
    resolved.check_for_cluster()?;
    let objects = rendered(&resolved, &resolved.job, args.start.resume())?;
    context.output.text(&match context.output.format {
        Format::Text | Format::Wide | Format::Yaml => to_yaml(&objects)?,
        Format::Json => to_json(&objects)?,
    })?;
    Ok(Exit::Done)
}
