use k8s_openapi::api::core::v1::ConfigMap;
use lockstep_job::JobSpec;

use crate::source::Source;
use crate::{Wrong, meta::pairs};

/// The key under which the job is, and so its file's name.
pub(crate) const FILE: &str = "job.json";

/// The resolved job, as agents read it.
pub(crate) fn job_file(job: &JobSpec) -> Result<String, Wrong> {
    serde_json::to_string_pretty(job).map(|text| text + "\n").map_err(|error| {
        Wrong::new("", format!("the job has no JSON form: {error}"), "write numbers that JSON has")
    })
}

/// Immutable: nodes that come back must read what the others have read.
pub(crate) fn config_map(source: &Source<'_>, file: String) -> ConfigMap {
    ConfigMap {
        metadata: source.meta.of(source.meta.config_map()),
        data: Some(pairs([(FILE, &file)])),
        immutable: Some(true),
        ..Default::default()
    }
}
