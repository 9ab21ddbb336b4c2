//! The job files in `tests/jobs`, resolved and rendered.

use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use lockstep_job::{Resolved, Resume, Source, resolve};
use lockstep_render::{Objects, Work, render};

/// The names of all of them.
pub(crate) const ALL: [&str; 3] = ["minimal", "everything", "nightly"];

pub(crate) fn here() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests")
}

pub(crate) fn resolved(name: &str, sets: &[&str]) -> Resolved {
    let path = here().join("jobs").join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let resolved = resolve(&Source { path, text }, &sets).unwrap_or_else(|problems| panic!("{problems}"));
    resolved.check_for_cluster().unwrap_or_else(|problems| panic!("{problems}"));
    resolved
}

pub(crate) fn rendered(name: &str, sets: &[&str]) -> Objects {
    render(&resolved(name, sets).job, Resume::Auto).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A file's objects; the parts below panic where they aren't.
pub(crate) struct Parts {
    pub(crate) objects: Objects,
}

impl Parts {
    pub(crate) fn of(name: &str, sets: &[&str]) -> Self {
        Self { objects: rendered(name, sets) }
    }

    pub(crate) fn job(&self) -> &Job {
        match &self.objects.work {
            Work::Job(job) => job,
            Work::CronJob(_) => panic!("it is scheduled"),
        }
    }

    pub(crate) fn cron_job(&self) -> &CronJob {
        match &self.objects.work {
            Work::CronJob(cron_job) => cron_job,
            Work::Job(_) => panic!("it is not scheduled"),
        }
    }

    pub(crate) fn spec(&self) -> &JobSpec {
        match &self.objects.work {
            Work::Job(job) => job.spec.as_ref().unwrap(),
            Work::CronJob(cron_job) => cron_job.spec.as_ref().unwrap().job_template.spec.as_ref().unwrap(),
        }
    }

    pub(crate) fn template(&self) -> &PodTemplateSpec {
        &self.spec().template
    }

    pub(crate) fn pod(&self) -> &PodSpec {
        self.template().spec.as_ref().unwrap()
    }

    pub(crate) fn container(&self) -> &Container {
        &self.pod().containers[0]
    }

    pub(crate) fn arg(&self, name: &str) -> &str {
        let args = self.container().args.as_ref().unwrap();
        args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}="))).unwrap()
    }
}
