//! How an agent that dies comes back: in its pod, where the cluster knows how, or else in a new one.

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, ContainerRestartRuleOnExitCodes, PodTemplateSpec,
};
use lockstep_job::AgentExit;

use crate::meta::CONTAINER;

/// The exit code of a process that was killed: by the kernel for its memory, by the kubelet, by somebody.
const KILLED: i32 = 128 + 9;
/// Deaths after which the same pod is as good as another. A wrong command line and a run that is over aren't among them, nor is
/// an agent that was told to leave.
const IN_ITS_POD: [i32; 2] = [AgentExit::Again as i32, KILLED];

/// The container's own policy, and the rules that are asked first. A pod that lives on asks nothing of the Job controller, which
/// would wait for 10 s before it makes another.
pub(crate) fn rules() -> (Option<String>, Option<Vec<ContainerRestartRule>>) {
    let codes =
        ContainerRestartRuleOnExitCodes { operator: "In".to_owned(), values: Some(IN_ITS_POD.to_vec()) };
    let restart = ContainerRestartRule { action: "Restart".to_owned(), exit_codes: Some(codes) };
    // What else it leaves with is the end of the pod, and Kubernetes wants that to be said.
    (Some("Never".to_owned()), Some(vec![restart]))
}

/// Whether an agent of such a pod that dies comes back in it.
pub fn returns(template: &PodTemplateSpec) -> bool {
    agent(template).is_some_and(|agent| agent.restart_policy_rules.iter().flatten().next().is_some())
}

/// Whether it comes back after other deaths than before. No rules at all are a way to say that new pods are wanted.
pub(crate) fn are_changed(before: &PodTemplateSpec, after: &PodTemplateSpec) -> bool {
    let (Some(before), Some(now)) = (agent(before), agent(after)) else { return false };
    before.restart_policy != now.restart_policy
        || (returns(after) && before.restart_policy_rules != now.restart_policy_rules)
}

/// Leaves every death to the Job controller, for a cluster whose pods can't do otherwise.
pub fn without_returns(template: &mut PodTemplateSpec) {
    let containers = template.spec.iter_mut().flat_map(|pod| &mut pod.containers);
    for agent in containers.filter(|container| container.name == CONTAINER) {
        (agent.restart_policy, agent.restart_policy_rules) = (None, None);
    }
}

fn agent(template: &PodTemplateSpec) -> Option<&Container> {
    template.spec.as_ref()?.containers.iter().find(|container| container.name == CONTAINER)
}
