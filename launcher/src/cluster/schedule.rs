//! Jobs that the cluster launches by itself, again and again: a CronJob, and what its runs share.

use super::Cluster;
use super::apply::{belongs, change, config_map, create};
use super::remove::{pods_leave, remove_around, remove_work, take};
use super::runs::{ClusterRun, list};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use lockstep_render::{JOB_LABEL, Objects};

/// Whether a job is scheduled under that name. Who may not look at CronJobs has none.
///
/// # Errors
/// Where a CronJob of that name is none of Lockstep's, or the cluster can't be asked.
pub(crate) async fn has_schedule(cluster: &Cluster, name: &str) -> anyhow::Result<bool> {
    Ok(find(cluster, name).await?.is_some())
}

async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Option<CronJob>> {
    let cron_jobs = cluster.api::<CronJob>();
    let found = async {
        match cron_jobs.get_opt(name).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            other => other,
        }
    };
    let found = cluster.call("get", &format!("CronJob {name}"), found).await?;
    found.iter().try_for_each(|cron_job| belongs(cluster, cron_job, "CronJob", name))?;
    Ok(found)
}

/// Makes a schedule, or changes the one that is there. Runs that were launched already go on as they began; where the cluster
/// refuses the change, the schedule stays.
///
/// # Errors
/// Where the cluster refuses an object, or one of that name belongs to somebody else.
pub(crate) async fn schedule(cluster: &Cluster, objects: &Objects) -> anyhow::Result<()> {
    let name = objects.service.name_any();
    let Some(there) = find(cluster, &name).await? else { return create(cluster, objects).await.map(drop) };
    change(cluster, objects, &there).await?;
    // The job files of the schedule before, but for those that its runs began with.
    let (current, runs) = (objects.config_map.name_any(), list_of(cluster, &name).await?);
    let kept: Vec<_> = runs.iter().filter_map(|run| config_map(&run.job)).chain([current.as_str()]).collect();
    take::<ConfigMap>(cluster, "ConfigMap", &name, &kept).await
}

/// Takes a schedule away with its runs, whose pods leave after a checkpoint, and waits until they are gone.
///
/// # Errors
/// Where the cluster refuses, or the pods don't end.
pub(crate) async fn unschedule(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    remove_work::<CronJob>(cluster, "CronJob", name, None).await?;
    // `kubectl create job --from` makes runs that don't hold their schedule back: they may go after it, and their pods last.
    let runs = list_of(cluster, name).await?;
    let removed = runs.iter().map(|run| remove_work::<Job>(cluster, "Job", &run.name, None));
    futures::future::try_join_all(removed).await?;
    pods_leave(cluster, name).await?;
    remove_around(cluster, name).await
}

/// Names of a schedule's runs that the cluster still knows.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(crate) async fn runs_of(cluster: &Cluster, schedule: &str) -> anyhow::Result<Vec<String>> {
    Ok(list_of(cluster, schedule).await?.into_iter().map(|run| run.name).collect())
}

async fn list_of(cluster: &Cluster, schedule: &str) -> anyhow::Result<Vec<ClusterRun>> {
    let mut runs = list(cluster).await?;
    runs.retain(|run| run.job.labels().get(JOB_LABEL).is_some_and(|job| job == schedule));
    Ok(runs)
}
