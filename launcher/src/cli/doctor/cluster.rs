use super::Asked;
use super::check::Check;
use crate::cluster::{self, Cluster, ClusterArgs, Inside};
use lockstep_job::{JobSpec, RunName};
use lockstep_render::Objects;
use std::time::Duration;

/// Everything that the cluster itself can tell, and what a pod of it finds where one is wanted.
///
/// # Errors
/// Where that pod can't be taken away again.
pub(super) async fn checks(place: &ClusterArgs, asked: Option<&Asked>) -> anyhow::Result<Vec<Check>> {
    let cluster = match Cluster::connect(place).await {
        Ok(cluster) => cluster,
        Err(error) => {
            // The rest of the message is what the fix says.
            let what = error.to_string().lines().next().unwrap_or_default().to_owned();
            let fix = "export KUBECONFIG=FILE, or let your provider's tool write ~/.kube/config";
            return Ok(vec![Check::new("kubeconfig", Err(what), fix)]);
        }
    };
    let place = format!("context {}, namespace {}", cluster.context, cluster.namespace);
    let version = cluster::version(&cluster).await;
    let answers = version.is_ok();
    let fix = "use a cluster of 1.33 or later, and check the address in the kubeconfig";
    let mut checks = vec![Check::new("kubeconfig", Ok(place), ""), Check::new("cluster", version, fix)];
    if !answers {
        return Ok(checks);
    }
    let fix = "ask your platform team for the launcher Role of Lockstep's manifests/ in this namespace";
    checks.push(Check::new("rights", cluster::rights(&cluster).await, fix));
    let fix =
        "set the clock of this machine, or of the cluster: object stores refuse requests whose time is off";
    checks.push(Check::new("clock", cluster::clock(&cluster).await, fix));
    if let Some(Asked { job, objects, checkup }) = asked {
        let fix = "change what it names in the job file, or ask whoever looks after the namespace";
        checks.push(Check::new("job", cluster::takes(&cluster, objects).await, fix));
        if let Some(found) = cluster::gpus(&cluster, job).await {
            let fix = "ask for another kubernetes.gpu.resource, a smaller count, or fewer nodes";
            checks.push(Check::new("gpus", found, fix));
        }
        if let Some(checkup) = checkup {
            checks.extend(inside(&cluster, checkup, most(job)).await?);
        }
    }
    Ok(checks)
}

/// A name that no run has, for the pod that looks around.
///
/// # Errors
/// None in practice.
pub(super) fn pod_name() -> anyhow::Result<RunName> {
    Ok(format!("doctor-{}", jiff::Timestamp::now().as_millisecond()).parse()?)
}

/// Its start may take as long as any of the job's, and then a minute.
fn most(job: &JobSpec) -> Duration {
    let start = job.kubernetes.as_ref().map(|kubernetes| kubernetes.start_timeout.duration());
    start.unwrap_or_default() + Duration::from_secs(60)
}

async fn inside(cluster: &Cluster, pod: &Objects, most: Duration) -> anyhow::Result<Vec<Check>> {
    let (place, clock, found) = match cluster::look_inside(cluster, pod, most).await? {
        Inside::Seen { place, clock, checkup } => (place, clock, checkup),
        Inside::Unseen { why, fix } => {
            let fix = fix.as_deref().unwrap_or("the message names who refused it");
            return Ok(vec![Check::new("pod", Err(why), fix)]);
        }
    };
    let mut checks = vec![Check::new("pod", Ok(place), "")];
    let fix = "make sure that the namespace's NetworkPolicies and kubernetes.podOverlay let pods reach the cluster's name server (port 53), and check CoreDNS";
    checks.push(Check::new("pod dns", found.dns, fix));
    let fix = "check that the bucket is there, and that kubernetes.secrets, kubernetes.serviceAccount and kubernetes.env give the store's address as pods reach it, and a key that may list, read, write and delete there";
    checks.push(Check::new("pod storage", found.storage, fix));
    let fix = "set the clock of the cluster's machines, or of this one: object stores refuse requests whose time is off";
    checks.push(Check::new("pod clock", clock, fix));
    if let Some(found) = found.gpus {
        let fix =
            "set up the machines' container runtime to hand out devices, as NVIDIA's container toolkit does";
        checks.push(Check::new("pod gpus", found, fix));
    }
    Ok(checks)
}
