use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec};
use lockstep_job::CronSchedule;

use crate::source::Source;

/// Ended launches of which the Job stays, and with it the pods' logs.
const KEPT: i32 = 3;

/// Each launch is a Job, and a run, of a name of its own: `<name>-<minutes since 1970>`.
pub(crate) fn cron_job(source: &Source<'_>, schedule: &CronSchedule, spec: JobSpec) -> CronJob {
    CronJob {
        metadata: source.meta.of(source.meta.name().to_owned()),
        spec: Some(CronJobSpec {
            schedule: schedule.cron.clone(),
            time_zone: Some(schedule.time_zone.clone()),
            concurrency_policy: Some("Forbid".to_owned()),
            successful_jobs_history_limit: Some(KEPT),
            failed_jobs_history_limit: Some(KEPT),
            job_template: JobTemplateSpec { metadata: Some(source.meta.of_job()), spec: Some(spec) },
            ..Default::default()
        }),
        status: None,
    }
}
