//! What is left of jobs that are gone.

use super::Cluster;
use super::remove::remove_around;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use lockstep_render::JOB_LABEL;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Names of jobs of which there are a Service, a ConfigMap or a policy, and neither Job nor CronJob.
///
/// # Errors
/// Where the cluster doesn't show its objects.
pub(crate) async fn leftovers(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    // Looked at before the Jobs: whoever launches in between has made the Job by then, or is named for a moment at most.
    let (services, files, policies, pdbs) = tokio::try_join!(
        jobs_of::<Service>(cluster, "Services"),
        jobs_of::<ConfigMap>(cluster, "ConfigMaps"),
        jobs_of::<NetworkPolicy>(cluster, "NetworkPolicies"),
        jobs_of::<PodDisruptionBudget>(cluster, "PodDisruptionBudgets"),
    )?;
    let (jobs, cron_jobs) =
        tokio::try_join!(jobs_of::<Job>(cluster, "Jobs"), jobs_of::<CronJob>(cluster, "CronJobs"))?;
    let living: BTreeSet<_> = jobs.into_iter().chain(cron_jobs).collect();
    let all = services.into_iter().chain(files).chain(policies).chain(pdbs);
    Ok(all.filter(|name| !living.contains(name)).collect())
}

/// Removes what is left of the job called `name`.
///
/// # Errors
/// Where the cluster refuses.
pub(crate) async fn sweep(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    remove_around(cluster, name).await
}

async fn jobs_of<K>(cluster: &Cluster, kind: &str) -> anyhow::Result<BTreeSet<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let api = cluster.api::<K>();
    let found = cluster
        .call("list", &format!("the {kind}"), api.list(&ListParams::default().labels(JOB_LABEL)))
        .await?;
    Ok(found.items.iter().filter_map(|object| object.labels().get(JOB_LABEL).cloned()).collect())
}
