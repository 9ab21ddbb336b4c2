//! Kueue, where it is installed: it decides when a Job of its queues may have pods, so whoever wants such a run to stand still
//! tells it to Kueue. It would let a Job go on again that somebody else has suspended.

use super::ClusterRun;
use crate::Failure;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{ResourceExt, discovery};
use serde_json::json;

/// Kueue's group of kinds.
const GROUP: &str = "kueue.x-k8s.io";
/// What Kueue makes for each Job.
pub(super) const WORKLOAD: &str = "Workload";

/// Has Kueue take a run's pods away and keep its place, or admit it again when there is room.
///
/// # Errors
/// Where Kueue has not seen the Job, or this user may not change its Workload.
pub(super) async fn set_active(run: &ClusterRun, active: bool) -> anyhow::Result<()> {
    let cluster = &run.cluster;
    let group = cluster.call("discover", "Kueue", discovery::oneshot::group(&cluster.client, GROUP)).await?;
    let Some((kind, _)) = group.recommended_kind(WORKLOAD) else {
        anyhow::bail!("{GROUP} of this cluster has no {WORKLOAD}s")
    };
    let workloads: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
    let all = cluster.call("list", "Kueue's Workloads", workloads.list(&ListParams::default())).await;
    let all = all.map_err(|error| unbound(run, error))?;
    let uid = run.job.uid().unwrap_or_default();
    let ours = |workload: &&DynamicObject| workload.owner_references().iter().any(|owner| owner.uid == uid);
    let Some(workload) = all.items.iter().find(ours).map(ResourceExt::name_any) else {
        let what = format!("Kueue has no Workload for run {}", run.name);
        return Err(Failure::new(what).note("fix", format!("lockstep delete {}", run.name)).into());
    };
    let patch = Patch::Merge(json!({ "spec": { "active": active } }));
    let params = PatchParams::default();
    let patched = workloads.patch(&workload, &params, &patch);
    cluster
        .call("patch", &format!("{WORKLOAD} {workload}"), patched)
        .await
        .map(drop)
        .map_err(|error| unbound(run, error))
}

fn unbound(run: &ClusterRun, error: anyhow::Error) -> anyhow::Error {
    Failure::new(format!("Kueue decides when run {} has pods: {error:#}", run.name))
        .note("fix", "ask for the component kueue of manifests/ in your Role")
        .note("or", format!("lockstep delete {}, and launch it again later", run.name))
        .into()
}
