use clap::ValueEnum;
use lockstep_render::{render, to_json, to_yaml};

use crate::{Context, Exit, Format, JobFile};

/// Print the Kubernetes objects that a job is, for GitOps or to look at; asks no cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep render -f job.yaml | kubectl apply --server-side -f -")]
pub(super) struct Args {
    #[command(flatten)]
    job: JobFile,

    #[command(flatten)]
    start: super::launch::StartArgs,

    /// One YAML document for each object, or one JSON list; --output json is the same as -o json
    #[arg(short = 'o', value_enum, value_name = "FORMAT")]
    format: Option<Manifest>,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manifest {
    /// YAML documents.
    Yaml,
    /// A JSON list.
    Json,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let resolved = args.job.resolve()?;
    resolved.check_for_cluster()?;
    let objects = render(&resolved.job, args.start.resume())
        .map_err(|wrong| resolved.problem(&wrong.path, wrong.what.as_str(), wrong.fix.as_str()))?;
    let by_default = match context.output.format {
        Format::Text => Manifest::Yaml,
        Format::Json => Manifest::Json,
    };
    context.output.text(&match args.format.unwrap_or(by_default) {
        Manifest::Yaml => to_yaml(&objects)?,
        Manifest::Json => to_json(&objects)?,
    })?;
    Ok(Exit::Done)
}
