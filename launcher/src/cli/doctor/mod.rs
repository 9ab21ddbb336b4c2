mod check;
mod cluster;

use crate::cluster::ClusterArgs;
use crate::job_file::{self, rendered};
use crate::{Context, Exit, JobFile, block_on};
use check::{Check, table};
use lockstep_job::{JobSpec, Resume};
use lockstep_render::Objects;
use lockstep_run::checkup;
use std::path::PathBuf;

/// Check what a launch on a cluster needs, and say how to mend what is missing
///
/// Nothing is left behind: on the cluster it only asks, and tries with dry runs; in the storage it writes one object and
/// removes it again. With --pod it also starts one pod, which does the same from inside, and takes it away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 all is well, 1 something is missing, 130 Ctrl-C")]
pub(super) struct Args {
    /// Also check what this job needs: that the cluster would take its objects, and that machines have its GPUs. YAML, or
    /// JSON or TOML by its extension; - reads YAML from stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Change a field of the job, as in train.steps=200; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "file")]
    sets: Vec<String>,

    /// Also start one pod like the job's for a moment: whether it gets a machine, its image and its GPUs, and whether the
    /// cluster's name server and the job's storage answer it
    #[arg(long, requires = "file")]
    pod: bool,

    /// Also check this storage from this machine, like s3://bucket/runs
    #[arg(long, value_name = "URI")]
    storage: Option<String>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A job that is asked about, and its objects.
struct Asked {
    job: JobSpec,
    objects: Objects,
    /// Those of a pod that looks around, where one is wanted.
    checkup: Option<Objects>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (place, asked) = asked(args)?;
    block_on(async {
        let mut checks = cluster::checks(&place, asked.as_ref()).await?;
        if let Some(uri) = &args.storage {
            let fix = "check that the bucket is there, export its AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, and let the key list, read, write and delete there";
            checks.push(Check::new("storage", checkup::storage(&crate::runs::absolute(uri)?).await, fix));
        }
        context.output.result(&checks, || table(&checks))?;
        Ok(if checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::Failed })
    })
}

/// Where the job would be launched, and the job.
fn asked(args: &Args) -> anyhow::Result<(ClusterArgs, Option<Asked>)> {
    let Some(file) = args.file.clone() else { return Ok((args.cluster.clone(), None)) };
    let resolved = JobFile { file, sets: args.sets.clone() }.resolve()?;
    resolved.check_for_cluster()?;
    let mut job = resolved.job.clone();
    let place = args.cluster.for_job(&mut job);
    let objects = rendered(&resolved, &job, Resume::Auto)?;
    let checkup = args.pod.then(|| job_file::checkup(&resolved, &job, cluster::pod_name()?)).transpose()?;
    Ok((place, Some(Asked { job, objects, checkup })))
}
