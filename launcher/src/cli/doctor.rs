use crate::cluster::{self, Cluster, ClusterArgs, Finding};
use crate::job_file::rendered;
use crate::{Context, Exit, JobFile, block_on, output};
use lockstep_jobspec::JobSpec;
use lockstep_render::Objects;
use lockstep_storage::{Created, Storage};
use serde::Serialize;
use std::path::PathBuf;

/// Check what a launch on a cluster needs, and say how to mend what is missing
///
/// Nothing is left behind: on the cluster it only asks, and tries with dry runs; in the storage it writes one object and
/// removes it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 all is well, 1 something is missing")]
pub(super) struct Args {
    /// Also check what this job needs: that the cluster would take its objects, and that machines have its GPUs. YAML, or
    /// JSON or TOML by its extension; - reads YAML from stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Change a field of the job, as in train.steps=200; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "file")]
    sets: Vec<String>,

    /// Also check this storage from this machine, like s3://bucket/runs
    #[arg(long, value_name = "URI")]
    storage: Option<String>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
    fix: Option<&'static str>,
}

impl Check {
    fn new(check: &'static str, found: Finding, fix: &'static str) -> Self {
        match found {
            Ok(detail) => Self { check, ok: true, detail, fix: None },
            Err(detail) => Self { check, ok: false, detail, fix: Some(fix) },
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (place, job) = job(args)?;
    block_on(async {
        let mut checks = on_cluster(&place, job.as_ref()).await;
        if let Some(uri) = &args.storage {
            let fix = "export the bucket's AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, and let the key list, read, write and delete there";
            checks.push(Check::new("storage", storage(uri).await, fix));
        }
        context.output.result(&checks, || table(&checks))?;
        Ok(if checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::Failed })
    })
}

/// The job that is asked about, where it would be launched, and its objects.
fn job(args: &Args) -> anyhow::Result<(ClusterArgs, Option<(JobSpec, Objects)>)> {
    let Some(file) = args.file.clone() else { return Ok((args.cluster.clone(), None)) };
    let resolved = JobFile { file, sets: args.sets.clone() }.resolve()?;
    resolved.check_for_cluster()?;
    let mut job = resolved.job.clone();
    let place = args.cluster.for_job(&mut job);
    let objects = rendered(&resolved, &job, "auto")?;
    Ok((place, Some((job, objects))))
}

async fn on_cluster(place: &ClusterArgs, job: Option<&(JobSpec, Objects)>) -> Vec<Check> {
    let cluster = match Cluster::connect(place).await {
        Ok(cluster) => cluster,
        Err(error) => {
            // The rest of the message is what the fix says.
            let what = error.to_string().lines().next().unwrap_or_default().to_owned();
            let fix = "export KUBECONFIG=FILE, or let your provider's tool write ~/.kube/config";
            return vec![Check::new("kubeconfig", Err(what), fix)];
        }
    };
    let place = format!("context {}, namespace {}", cluster.context, cluster.namespace);
    let version = cluster::version(&cluster).await;
    let mut checks = vec![Check::new("kubeconfig", Ok(place), "")];
    let answers = version.is_ok();
    checks.push(Check::new(
        "cluster",
        version,
        "use a cluster of 1.33 or later, and check the address in the kubeconfig",
    ));
    if answers {
        let fix = "ask your platform team for the launcher Role of Lockstep's manifests/ in this namespace";
        checks.push(Check::new("rights", cluster::rights(&cluster).await, fix));
        let fix = "set the clock of this machine, or of the cluster: object stores refuse who is late";
        checks.push(Check::new("clock", cluster::clock(&cluster).await, fix));
    }
    if let Some((job, objects)) = job.filter(|_| answers) {
        let fix = "change what it names in the job file, or ask who looks after the namespace";
        checks.push(Check::new("job", cluster::dry_run(&cluster, objects).await, fix));
        if let Some(found) = cluster::gpus(&cluster, job).await {
            let fix = "ask for another kubernetes.gpu.resource, a smaller count, or fewer nodes";
            checks.push(Check::new("gpus", found, fix));
        }
    }
    checks
}

/// Writes an object, finds that it can't be written again, reads, lists and removes it.
async fn storage(uri: &str) -> Finding {
    let tried = async {
        let storage = lockstep_storage::open(&crate::runs::absolute(uri)?)?;
        let path = format!("doctor-{}", jiff::Timestamp::now().as_nanosecond());
        let tried = try_out(storage.as_ref(), &path).await;
        storage.delete(&path).await?;
        tried
    };
    tried.await.map_err(|error: anyhow::Error| format!("{error:#}"))?;
    Ok(format!("{uri} can be listed, read and written, and keeps to conditional writes"))
}

async fn try_out(storage: &dyn Storage, path: &str) -> anyhow::Result<()> {
    let (first, second) = ("first".into(), "second".into());
    anyhow::ensure!(storage.create(path, first).await? == Created::Ours, "a new object was there already");
    match storage.create(path, second).await? {
        Created::Theirs(body) if body == "first" => {}
        _ => {
            anyhow::bail!("it wrote over an object in spite of the condition; use a store with If-None-Match")
        }
    }
    anyhow::ensure!(storage.get(path).await? == "first", "it returned other bytes than were written");
    anyhow::ensure!(
        storage.list("").await?.iter().any(|meta| meta.path == path),
        "it doesn't list what was written"
    );
    Ok(())
}

fn table(checks: &[Check]) -> String {
    let row = |check: &Check| {
        let fix = check.fix.map_or(String::new(), |fix| format!("\nfix: {fix}"));
        let verdict = if check.ok { "ok" } else { "missing" };
        [check.check.to_owned(), verdict.to_owned(), format!("{}{fix}", check.detail)]
    };
    output::columns(&["CHECK", "RESULT", "DETAIL"], checks.iter().map(row))
}
