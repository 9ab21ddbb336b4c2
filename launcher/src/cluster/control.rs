//! Suspends Jobs and lets them go on.

use super::objects::is_over;
use super::remove::is_absent;
use super::watch::pods_of;
use super::{ClusterRun, kueue};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

/// Suspends a run's Job, so that its pods leave after a checkpoint, or lets it go on. Where Kueue decides about that, it is asked.
///
/// # Errors
/// Where the cluster refuses.
pub(crate) async fn set_suspended(run: &ClusterRun, suspended: bool) -> anyhow::Result<()> {
    if run.is_queued() {
        return kueue::set_active(run, !suspended).await;
    }
    let jobs = run.cluster.api::<Job>();
    let patch = Patch::Merge(json!({ "spec": { "suspend": suspended } }));
    let params = PatchParams::default();
    let verb = if suspended { "suspend" } else { "resume" };
    run.cluster
        .call(verb, &format!("Job {}", run.name), jobs.patch(&run.name, &params, &patch))
        .await
        .map(drop)
}

/// Ends a run's pods without waiting for a checkpoint. Its Job would make new ones unless it is suspended.
///
/// # Errors
/// Where the cluster refuses; a launcher's Role has no right to delete pods.
pub(crate) async fn end_pods_now(run: &ClusterRun) -> anyhow::Result<()> {
    let pods = run.cluster.api::<Pod>();
    let of_job = ListParams::default().labels(&pods_of(&run.name));
    let found = run.cluster.call("list", &format!("pods of {}", run.name), pods.list(&of_job)).await?;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    for pod in found.items.iter().filter(|pod| !is_over(pod)).map(ResourceExt::name_any) {
        let deleted = async {
            match pods.delete(&pod, &at_once).await {
                Err(error) if is_absent(&error) => Ok(()),
                other => other.map(drop),
            }
        };
        run.cluster.call("delete", &format!("Pod {pod}"), deleted).await?;
    }
    Ok(())
}

/// Whether no agent of the run is at work.
///
/// # Errors
/// Where the cluster doesn't show the pods.
pub(crate) async fn pods_are_gone(run: &ClusterRun) -> anyhow::Result<bool> {
    let pods = run.cluster.api::<Pod>();
    let of_job = ListParams::default().labels(&pods_of(&run.name));
    let found = run.cluster.call("list", &format!("pods of {}", run.name), pods.list(&of_job)).await?;
    Ok(found.items.iter().all(is_over))
}
