use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use lockstep_job::{JobSpec, Resume, RunName};
use serde_json::Value;

use crate::meta::Meta;
use crate::source::{Purpose, Source};
use crate::{Wrong, config_map, cron_job, job, network_policy, pdb, pod, service};

/// Everything that a job is on a cluster, in the order in which it is made: what pods need comes before the pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// Gives each pod a name of its own.
    pub service: Service,
    /// The resolved job, which every agent reads.
    pub config_map: ConfigMap,
    /// Keeps everybody else out.
    pub network_policy: Option<NetworkPolicy>,
    /// Makes drains wait.
    pub pdb: Option<PodDisruptionBudget>,
    /// What makes the pods.
    pub work: Work,
}

/// What makes the pods.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Once.
    Job(Box<Job>),
    /// Again and again.
    CronJob(Box<CronJob>),
}

/// Makes the objects of a job that [`check_for_cluster`](lockstep_job::Resolved::check_for_cluster) found nothing
/// wrong with. `resume` says what the launch starts from.
///
/// # Errors
/// Where a part that is Kubernetes' own, `affinity` or `podOverlay`, isn't what Kubernetes takes.
pub fn render(job: &JobSpec, resume: Resume) -> Result<Objects, Wrong> {
    objects(job, Purpose::Train { resume })
}

/// Makes the objects of one pod like those of `job`, called `name`, whose agent looks around and ends. They are gone a
/// minute after that, and after an hour whatever happens.
///
/// # Errors
/// As [`render`].
pub fn checkup(job: &JobSpec, name: RunName) -> Result<Objects, Wrong> {
    let mut one = JobSpec { name, nodes: 1, ..job.clone() };
    if let Some(kubernetes) = &mut one.kubernetes {
        (kubernetes.schedule, kubernetes.pdb) = (None, None);
    }
    let mut objects = objects(&one, Purpose::Checkup)?;
    if let Work::Job(job) = &mut objects.work
        && let Some(spec) = &mut job.spec
    {
        spec.backoff_limit_per_index = Some(0);
        spec.ttl_seconds_after_finished = Some(60);
        spec.active_deadline_seconds = Some(3600);
    }
    Ok(objects)
}

fn objects(job: &JobSpec, purpose: Purpose) -> Result<Objects, Wrong> {
    let Some(kubernetes) = &job.kubernetes else {
        let fix = "add kubernetes: { image: registry/name:tag }";
        return Err(Wrong::new("kubernetes", "there is no `kubernetes` section", fix));
    };
    let file = config_map::job_file(job)?;
    let source = Source { job, kubernetes, purpose, meta: Meta::new(job, kubernetes, &file) };
    let work = job::spec(&source, pod::template(&source)?);
    Ok(Objects {
        service: service::service(&source),
        config_map: config_map::config_map(&source, file),
        network_policy: kubernetes.network_policy.then(|| network_policy::network_policy(&source)),
        pdb: kubernetes.pdb.map(|budget| pdb::pdb(&source, budget)),
        work: match &kubernetes.schedule {
            None => Work::Job(Box::new(job::job(&source, work))),
            Some(schedule) => Work::CronJob(Box::new(cron_job::cron_job(&source, schedule, work))),
        },
    })
}

impl Objects {
    /// What pods are made from.
    pub fn template_mut(&mut self) -> Option<&mut PodTemplateSpec> {
        let spec = match &mut self.work {
            Work::Job(job) => job.spec.as_mut(),
            Work::CronJob(cron_job) => {
                cron_job.spec.as_mut().and_then(|spec| spec.job_template.spec.as_mut())
            }
        };
        spec.map(|spec| &mut spec.template)
    }

    /// The objects as plain values, in order.
    ///
    /// # Errors
    /// None in practice: every object has a JSON form.
    pub fn to_values(&self) -> serde_json::Result<Vec<Value>> {
        let mut values = vec![serde_json::to_value(&self.service)?, serde_json::to_value(&self.config_map)?];
        values.extend(self.network_policy.as_ref().map(serde_json::to_value).transpose()?);
        values.extend(self.pdb.as_ref().map(serde_json::to_value).transpose()?);
        values.push(match &self.work {
            Work::Job(job) => serde_json::to_value(job)?,
            Work::CronJob(cron_job) => serde_json::to_value(cron_job)?,
        });
        Ok(values)
    }
}
