use lockstep_render::{to_json, to_yaml, without_returns};

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

    /// Kubernetes version of the cluster, if it is before 1.35: what that doesn't know is left out
    #[arg(long, value_name = "VERSION", value_parser = version)]
    kube_version: Option<(u32, u32)>,
}

/// The first one whose pods bring agents back by rules.
const RULES_SINCE: (u32, u32) = (1, 35);

/// As in 1.33, or v1.33.4-gke.1.
fn version(text: &str) -> Result<(u32, u32), String> {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err("it must be like 1.33".to_owned()),
    }
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let resolved = args.job.resolve()?;
    resolved.check_for_cluster()?;
    let mut objects = rendered(&resolved, &resolved.job, args.start.resume())?;
    if args.kube_version.is_some_and(|version| version < RULES_SINCE) {
        objects.template_mut().into_iter().for_each(without_returns);
    }
    context.output.text(&match context.output.format {
        Format::Text | Format::Wide | Format::Yaml => to_yaml(&objects)?,
        Format::Json => to_json(&objects)?,
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_clusters_call_theirs() {
        for (text, known) in [
            ("1.33", Some((1, 33))),
            ("v1.34.2", Some((1, 34))),
            ("1.35.0-eks-1.2", Some((1, 35))),
            ("1", None),
            ("1.x", None),
            ("", None),
        ] {
            assert_eq!(version(text).ok(), known, "{text}");
        }
        assert!(version("1.34").unwrap() < RULES_SINCE && version("1.100").unwrap() > RULES_SINCE);
    }
}
