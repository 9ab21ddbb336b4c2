//! `podOverlay`: what the job file has no field for.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use lockstep_job::{JobSpec, is_reserved_variable};
use serde_json::Value;

use crate::meta::JOB_LABEL;
use crate::quantity::seconds;
use crate::{Wrong, returns, typed::typed};

const PATH: &str = "kubernetes.podOverlay";

/// Merges the patch into the template, and looks whether what the run depends on is still there.
pub(crate) fn merge(
    template: PodTemplateSpec,
    patch: &Value,
    job: &JobSpec,
) -> Result<PodTemplateSpec, Wrong> {
    let mut merged = template.clone();
    merged.merge_from(typed(PATH, patch)?);
    let label =
        |template: &PodTemplateSpec| template.metadata.as_ref()?.labels.as_ref()?.get(JOB_LABEL).cloned();
    let (Some(before), Some(after)) = (&template.spec, &merged.spec) else { return Ok(merged) };
    let changed = [
        ("metadata.labels", label(&template) != label(&merged)),
        ("spec.restartPolicy", before.restart_policy != after.restart_policy),
        ("spec.subdomain", before.subdomain != after.subdomain),
        ("spec.containers.restartPolicyRules", returns::are_changed(&template, &merged)),
    ];
    if let Some((field, _)) = changed.into_iter().find(|(_, changed)| *changed) {
        let what = format!("{PATH}.{field} changes what pods find each other and come back by");
        return Err(Wrong::new(format!("{PATH}.{field}"), what, "remove it"));
    }
    let least = seconds(job.recovery.grace);
    if after.termination_grace_period_seconds.is_some_and(|period| period <= least) {
        let path = format!("{PATH}.spec.terminationGracePeriodSeconds");
        let what = format!("{path} must be above recovery.grace, which is {}", job.recovery.grace);
        return Err(Wrong::new(path, what, "remove it, and set kubernetes.gracePeriod"));
    }
    let before =
        |name: &str| before.containers.iter().flat_map(|c| c.env.iter().flatten()).any(|e| e.name == name);
    for (index, container) in after.containers.iter().enumerate() {
        let reserved = |name: &str| is_reserved_variable(name) && !before(name);
        if let Some(variable) = container.env.iter().flatten().find(|variable| reserved(&variable.name)) {
            let path = format!("{PATH}.spec.containers.{index}.env");
            let what = format!("{path} sets {}, which the agent sets for each worker", variable.name);
            return Err(Wrong::new(path, what, "remove it"));
        }
    }
    Ok(merged)
}
