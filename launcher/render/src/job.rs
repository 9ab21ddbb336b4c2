use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use lockstep_job::AgentExit;

use crate::meta::{CONTAINER, RUN_DIR_ANNOTATION};
use crate::quantity::count;
use crate::source::Source;

/// A node that comes back this often without the run giving up on it is given up. Each return waits up to 10 minutes.
const RETURNS: i32 = 1000;

pub(crate) fn job(source: &Source<'_>, spec: JobSpec) -> Job {
    let meta = &source.meta;
    let job_meta = meta.of_job();
    let mut annotations = job_meta.annotations.unwrap_or_default();
    annotations.insert(RUN_DIR_ANNOTATION.to_owned(), format!("{}/{}", meta.storage(), meta.name()));
    Job {
        metadata: ObjectMeta {
            labels: job_meta.labels,
            annotations: Some(annotations),
            ..meta.of(meta.name().to_owned())
        },
        spec: Some(spec),
        status: None,
    }
}

/// One index for each node, each with retries of its own.
pub(crate) fn spec(source: &Source<'_>, template: PodTemplateSpec) -> JobSpec {
    let nodes = source.job.nodes;
    JobSpec {
        completion_mode: Some("Indexed".to_owned()),
        completions: Some(count(nodes)),
        parallelism: Some(count(nodes)),
        // Without it all indexes share one delay, which doubles with every failure of any of them.
        backoff_limit_per_index: Some(RETURNS),
        // Where fewer than minNodes are left, the run can't go on.
        max_failed_indexes: Some(count(nodes.saturating_sub(source.job.min_nodes()))),
        pod_failure_policy: Some(failure_policy()),
        // The only one that goes with a failure policy: two lives of a node never overlap.
        pod_replacement_policy: Some("Failed".to_owned()),
        // An agent leaves with 0 only when the whole run is done, so one is enough.
        success_policy: Some(SuccessPolicy {
            rules: vec![SuccessPolicyRule { succeeded_count: Some(1), ..Default::default() }],
        }),
        template,
        ..Default::default()
    }
}

/// The first rule that fits counts: a drain may end an agent with any code.
fn failure_policy() -> PodFailurePolicy {
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
    };
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_exit_codes: None,
                on_pod_conditions: Some(vec![disrupted]),
            },
            PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(CONTAINER.to_owned()),
                    operator: "In".to_owned(),
                    // An agent that doesn't know its arguments is of another version than the launcher.
                    values: AgentExit::FOR_GOOD.map(AgentExit::code).to_vec(),
                }),
                on_pod_conditions: None,
            },
        ],
    }
}
