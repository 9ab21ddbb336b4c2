//! Jobs that the cluster launches by itself, again and again: a CronJob, and what its runs share.

use super::Cluster;
use super::apply::{GONE_DEADLINE, apply, belongs, config_map, create, is_absent, remove_around};
use super::runs::list;
use crate::Failure;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use lockstep_render::{JOB_LABEL, Objects};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often it is asked whether a schedule that is being deleted is gone. Its pods save a checkpoint first.
const GONE_YET: Duration = Duration::from_millis(250);

/// Whether a job is scheduled under that name. Who may not look at CronJobs has none.
///
/// # Errors
/// Where a CronJob of that name is none of Lockstep's, or the cluster can't be asked.
pub(crate) async fn is_scheduled(cluster: &Cluster, name: &str) -> anyhow::Result<bool> {
    let cron_jobs = cluster.api::<CronJob>();
    let found = async {
        match cron_jobs.get_opt(name).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            other => other,
        }
    };
    match cluster.call("get", &format!("CronJob {name}"), found).await? {
        Some(cron_job) => belongs(cluster, &cron_job, "CronJob", name).map(|()| true),
        None => Ok(false),
    }
}

/// Makes a schedule, or changes the one that is there. Runs that were launched already go on as they began; where the cluster
/// refuses the change, the schedule stays.
///
/// # Errors
/// Where the cluster refuses an object, or one of that name belongs to somebody else.
pub(crate) async fn schedule(cluster: &Cluster, objects: &Objects) -> anyhow::Result<()> {
    let name = objects.service.name_any();
    if !is_scheduled(cluster, &name).await? {
        return create(cluster, objects).await.map(drop);
    }
    apply(cluster, objects).await?;
    drop_old_files(cluster, &name, &objects.config_map.name_any()).await
}

/// Takes a schedule away with its runs, whose pods leave after a checkpoint, and waits until they are gone.
///
/// # Errors
/// Where the cluster refuses, or the pods don't end.
pub(crate) async fn unschedule(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let (cron_jobs, what) = (cluster.api::<CronJob>(), format!("CronJob {name}"));
    let foreground =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..Default::default() };
    let deleted = async {
        match cron_jobs.delete(name, &foreground).await {
            Err(error) if is_absent(&error) => Ok(()),
            other => other.map(drop),
        }
    };
    cluster.call("delete", &what, deleted).await?;
    let gone = async {
        while cluster.call("get", &what, cron_jobs.get_opt(name)).await?.is_some() {
            tokio::time::sleep(GONE_YET).await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(GONE_DEADLINE, gone).await {
        Ok(waited) => waited?,
        Err(_) => {
            return Err(Failure::new(format!("the runs of {what} are not gone after {GONE_DEADLINE:?}"))
                .note("look at", format!("kubectl -n {} get pods -l {JOB_LABEL}={name}", cluster.namespace))
                .into());
        }
    }
    remove_around(cluster, name).await
}

/// Names of a schedule's runs that the cluster still knows.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(crate) async fn runs_of(cluster: &Cluster, schedule: &str) -> anyhow::Result<Vec<String>> {
    let all = list(cluster).await?.into_iter();
    let of_it = all.filter(|run| run.job.labels().get(JOB_LABEL).is_some_and(|job| job == schedule));
    Ok(of_it.map(|run| run.name).collect())
}

/// Removes the job files that a changed schedule had before, but for those that its runs began with.
async fn drop_old_files(cluster: &Cluster, name: &str, current: &str) -> anyhow::Result<()> {
    let files = cluster.api::<ConfigMap>();
    let of_job = ListParams::default().labels(&format!("{JOB_LABEL}={name}"));
    let there = cluster.call("list", &format!("ConfigMaps of {name}"), files.list(&of_job)).await?;
    let runs = list(cluster).await?;
    let kept: BTreeSet<_> = runs.iter().filter_map(|run| config_map(&run.job)).chain([current]).collect();
    for file in there.items.iter().map(ResourceExt::name_any).filter(|file| !kept.contains(file.as_str())) {
        let deleted = async {
            match files.delete(&file, &DeleteParams::default()).await {
                Err(error) if is_absent(&error) => Ok(()),
                other => other.map(drop),
            }
        };
        cluster.call("delete", &format!("ConfigMap {file}"), deleted).await?;
    }
    Ok(())
}
