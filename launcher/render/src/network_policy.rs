use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};

use crate::source::Source;

/// The job's own pods reach each other on every port, since Gloo and NCCL take any; nobody else gets in. The node's
/// probes always do.
pub(crate) fn network_policy(source: &Source<'_>) -> NetworkPolicy {
    let own = NetworkPolicyPeer { pod_selector: Some(source.meta.label_selector()), ..Default::default() };
    NetworkPolicy {
        metadata: source.meta.of(source.meta.name().to_owned()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(source.meta.label_selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![own]), ports: None }]),
            egress: None,
        }),
    }
}
