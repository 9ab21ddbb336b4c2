use k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
};

use crate::meta::some;
use crate::quantity::seconds;
use crate::source::Source;
use crate::{Wrong, container, overlay, place, volumes};

/// The user and group of all images of ours.
const USER: i64 = 65532;

pub(crate) fn template(source: &Source<'_>) -> Result<PodTemplateSpec, Wrong> {
    let (job, kubernetes) = (source.job, source.kubernetes);
    let spec = PodSpec {
        // A failure policy asks for it. What the agent's own rules don't bring back in its pod is replaced by a new pod.
        restart_policy: Some("Never".to_owned()),
        // The Service's name: it makes `<hostname>.<service>` resolve.
        subdomain: Some(source.meta.name().to_owned()),
        // Variables for every Service of the namespace: thousands in a busy one, and they may be taken for ours.
        enable_service_links: Some(false),
        automount_service_account_token: Some(false),
        service_account_name: kubernetes.service_account.clone(),
        termination_grace_period_seconds: Some(seconds(kubernetes.grace_period(job.recovery.grace))),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..Default::default()
        }),
        image_pull_secrets: some(
            kubernetes.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }),
        ),
        priority_class_name: kubernetes.priority_class.clone(),
        node_selector: place::node_selector(kubernetes),
        affinity: place::affinity(kubernetes)?,
        tolerations: Some(place::tolerations(kubernetes)),
        topology_spread_constraints: some(place::spread(source).into_iter()),
        init_containers: container::install(kubernetes).map(|install| vec![install]),
        containers: vec![container::agent(source)],
        volumes: Some(volumes::volumes(source)),
        ..Default::default()
    };
    let template = PodTemplateSpec { metadata: Some(source.meta.of_pods()), spec: Some(spec) };
    match &kubernetes.pod_overlay {
        Some(patch) => overlay::merge(template, patch, job),
        None => Ok(template),
    }
}
