//! Parts of a job file that are Kubernetes' own.

use lockstep_job::Resume;
use lockstep_render::{render, returns};

use crate::common::{Parts, resolved};

#[test]
fn an_overlay_adds_and_replaces_by_name() {
    let parts = Parts::of("everything", &[]);
    assert_eq!(parts.pod().runtime_class_name.as_deref(), Some("nvidia"));
    assert_eq!(parts.pod().containers.len(), 1);
    let has = |name: &str| parts.container().env.iter().flatten().any(|env| env.name == name);
    assert!(has("NCCL_DEBUG") && has("AWS_REGION") && has("LOCKSTEP_LAUNCH"));
    assert_eq!(parts.container().volume_mounts.as_ref().unwrap().len(), 9);
}

#[test]
fn what_kubernetes_would_not_take_is_named() {
    for (set, expected) in [
        (
            "kubernetes.podOverlay={spec: {nodeSelectr: {a: b}}}",
            "unknown field `kubernetes.podOverlay.spec.nodeSelectr`",
        ),
        (
            "kubernetes.podOverlay={spec: {containers: [{name: agent, env: [{name: RANK, value: '1'}]}]}}",
            "kubernetes.podOverlay.spec.containers.0.env sets RANK, which the agent sets for each worker",
        ),
        (
            "kubernetes.podOverlay={spec: {subdomain: other}}",
            "kubernetes.podOverlay.spec.subdomain changes what pods find each other and come back by",
        ),
        (
            "kubernetes.podOverlay={spec: {containers: [{name: agent, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [0]}}]}]}}",
            "kubernetes.podOverlay.spec.containers.restartPolicyRules changes what pods find each other and come back by",
        ),
        (
            "kubernetes.podOverlay={spec: {containers: [{name: agent, restartPolicy: Always}]}}",
            "kubernetes.podOverlay.spec.containers.restartPolicyRules changes what pods find each other and come back by",
        ),
        (
            "kubernetes.podOverlay={spec: {terminationGracePeriodSeconds: 30}}",
            "kubernetes.podOverlay.spec.terminationGracePeriodSeconds must be above recovery.grace, which is 30s",
        ),
        ("kubernetes.affinity={nodeAfinity: {}}", "unknown field `kubernetes.affinity.nodeAfinity`"),
    ] {
        let wrong = render(&resolved("minimal", &[set]).job, Resume::Auto).unwrap_err();
        assert_eq!(wrong.what, expected);
        assert!(!wrong.fix.is_empty() && wrong.path.starts_with("kubernetes."));
    }
}

#[test]
fn an_overlay_without_rules_asks_for_new_pods() {
    let none = "kubernetes.podOverlay={spec: {containers: [{name: agent, restartPolicyRules: []}]}}";
    assert!(!returns(Parts::of("minimal", &[none]).template()));
}
