use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use crate::meta::{AGENT_PORT, CONTAINER};
use crate::source::Source;

/// A headless Service: each pod is `<job>-<index>.<service>` from the moment it has an address, ready or not, because
/// agents become ready by finding each other.
pub(crate) fn service(source: &Source<'_>) -> Service {
    Service {
        metadata: source.meta.of(source.meta.name().to_owned()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(source.meta.selector()),
            ports: Some(vec![ServicePort {
                name: Some(CONTAINER.to_owned()),
                port: AGENT_PORT.into(),
                protocol: Some("TCP".to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        status: None,
    }
}
