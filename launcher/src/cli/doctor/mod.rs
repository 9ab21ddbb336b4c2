mod check;
mod cluster;
mod storage;

use crate::cluster::ClusterArgs;
use crate::job_file::{self, rendered};
use crate::{Context, Exit, JobFile, block_on};
use check::table;
use lockstep_job::{JobSpec, Resume};
use lockstep_render::Objects;
use std::path::PathBuf;

/// Check what a launch needs, and say how to mend what is missing
///
/// Nothing is left behind. On the cluster it only asks, and tries with dry runs. With --pod it also starts one pod, which
/// looks around from inside, and takes it away. With --storage it holds a store to what runs rest on: it writes some 50 MB
/// into a folder of its own there, and removes them again.
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

    /// Check from this machine whether this store keeps what runs rest on: conditional creates, listings, whole objects. A
    /// bucket like s3://bucket/runs, gs://bucket/runs or az://container/runs, or a folder. No cluster is asked unless you name one, or a job
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
        let named = asked.is_some() || args.cluster.context.is_some() || args.cluster.namespace.is_some();
        let mut checks = match args.storage.is_some() && !named {
            true => vec![],
            false => cluster::checks(&place, asked.as_ref()).await?,
        };
        let mut stopped = None;
        if let Some(uri) = &args.storage {
            let found = storage::checks(uri).await?;
            checks.extend(found.0);
            stopped = found.1;
        }
        context.output.result(&checks, || table(&checks))?;
        Ok(match stopped {
            Some(signal) => signal.into(),
            None if checks.iter().all(|check| check.ok) => Exit::Done,
            None => Exit::Failed,
        })
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
