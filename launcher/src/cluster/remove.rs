//! Takes a job's objects away.

use super::Cluster;
use super::apply::Owner;
use crate::Failure;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Preconditions, PropagationPolicy};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Api, Resource, ResourceExt};
use lockstep_render::JOB_LABEL;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// How long a Job and its pods may take to be gone, beyond their grace period.
const GONE_DEADLINE: Duration = Duration::from_secs(300);
/// How often it is asked whether something that is being deleted is gone.
const GONE_YET: Duration = Duration::from_millis(50);

/// Removes a job's objects, pods first, and waits until the Job and its pods are gone. The run's storage stays.
///
/// # Errors
/// Where the cluster refuses, or the pods don't end.
pub(crate) async fn remove(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    remove_work::<Job>(cluster, "Job", name, None).await?;
    remove_around(cluster, name).await
}

/// Removes a Job or a CronJob, its pods first, and waits until they are gone; where `uid` is given, only that one.
///
/// # Errors
/// Where the cluster refuses, or the pods don't end.
pub(super) async fn remove_work<K: Owner>(
    cluster: &Cluster,
    kind: &str,
    name: &str,
    uid: Option<String>,
) -> anyhow::Result<()> {
    let work = cluster.api::<K>();
    let foreground = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
        ..Default::default()
    };
    let what = format!("{kind} {name}");
    let deleted = async {
        match work.delete(name, &foreground).await {
            Err(error) if is_absent(&error) => Ok(None),
            other => other.map(|answer| answer.left().and_then(|work| work.uid())),
        }
    };
    match cluster.call("delete", &what, deleted).await? {
        Some(uid) => wait_until_gone(cluster, work, name, &uid, &K::pods(name)).await,
        None => Ok(()),
    }
}

/// Waits until no pod of the schedule called `name` is left.
///
/// # Errors
/// Where the cluster doesn't show them, or they don't end.
pub(super) async fn pods_leave(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let (pods, of_job) = (cluster.api::<Pod>(), &CronJob::pods(name));
    let params = ListParams::default().labels(of_job);
    let left = cluster.call("list", &format!("pods of {name}"), pods.list(&params)).await?;
    let gone = left.items.iter().filter_map(|pod| Some((pod.name_any(), pod.uid()?))).map(|(pod, uid)| {
        let pods = pods.clone();
        async move { wait_until_gone(cluster, pods, &pod, &uid, of_job).await }
    });
    futures::future::try_join_all(gone).await.map(drop)
}

/// Waits until the object called `name` is gone, which takes no longer than the pods that `selector` finds.
async fn wait_until_gone<K>(
    cluster: &Cluster,
    api: Api<K>,
    name: &str,
    uid: &str,
    selector: &str,
) -> anyhow::Result<()>
where
    K: DeserializeOwned + Clone + Debug + Resource + Send + 'static,
{
    match tokio::time::timeout(GONE_DEADLINE, await_condition(api, name, is_deleted(uid))).await {
        Ok(waited) => waited.map(drop).map_err(Into::into),
        Err(_) => {
            let what = format!("the pods of {name} are still there after {GONE_DEADLINE:?}");
            let pods = format!("kubectl -n {} get pods -l {selector}", cluster.namespace);
            Err(Failure::new(what).note("look at", pods).into())
        }
    }
}

/// Removes what is around a Job. What is not there is no error.
pub(super) async fn remove_around(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    tokio::try_join!(
        take::<Service>(cluster, "Service", name, &[]),
        take::<ConfigMap>(cluster, "ConfigMap", name, &[]),
        take::<NetworkPolicy>(cluster, "NetworkPolicy", name, &[]),
        take::<PodDisruptionBudget>(cluster, "PodDisruptionBudget", name, &[]),
    )?;
    Ok(())
}

/// Deletes the objects of one kind that belong to the job called `name`, but for those called as in `kept`, and waits until
/// they are gone.
pub(super) async fn take<K>(cluster: &Cluster, kind: &str, name: &str, kept: &[&str]) -> anyhow::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let api = cluster.api::<K>();
    let of_job = ListParams::default().labels(&format!("{JOB_LABEL}={name}"));
    for object in cluster.call("list", &format!("{kind}s of {name}"), api.list(&of_job)).await?.items {
        let (uid, object) = (object.uid(), object.name_any());
        if kept.contains(&object.as_str()) {
            continue;
        }
        let gone = async {
            match api.delete(&object, &DeleteParams::default()).await {
                Err(error) if is_absent(&error) => return Ok(()),
                other => drop(other?),
            }
            // The garbage collector may have a Service wait for its EndpointSlices: until then it can't be made anew.
            while api.get_opt(&object).await?.is_some_and(|there| there.uid() == uid) {
                tokio::time::sleep(GONE_YET).await;
            }
            Ok(())
        };
        cluster.call("delete", &format!("{kind} {object}"), gone).await?;
    }
    Ok(())
}

pub(super) fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
