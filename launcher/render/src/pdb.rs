use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lockstep_job::Pdb;

use crate::quantity::count;
use crate::source::Source;

/// `maxUnavailable` needs an owner with a scale, which a Job isn't: so it becomes `minAvailable`.
pub(crate) fn pdb(source: &Source<'_>, budget: Pdb) -> PodDisruptionBudget {
    let available = source.job.nodes.saturating_sub(budget.max_unavailable);
    PodDisruptionBudget {
        metadata: source.meta.of(source.meta.name().to_owned()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(count(available))),
            selector: Some(source.meta.label_selector()),
            // A pod that isn't ready does no work that a drain could spoil.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..Default::default()
        }),
        status: None,
    }
}
