//! Whether a cluster lets somebody launch, asked in the way of the cluster itself.

use super::Cluster;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use lockstep_run::checkup::Finding;

/// The oldest version whose Jobs do what Lockstep asks of them.
const OLDEST: (u32, u32) = (1, 33);
/// Clocks that differ by more make object stores refuse requests. Unit: seconds.
const MAX_SKEW: i64 = 60;
/// Everything that the launcher asks of the API: group, resource, subresource, verbs. The Role of `manifests/` says the same.
const RIGHTS: [(&str, &str, &str, &[&str]); 9] = [
    ("batch", "jobs", "", &["create", "get", "list", "watch", "patch", "delete"]),
    ("batch", "cronjobs", "", &["create", "get", "list", "watch", "patch", "delete"]),
    ("", "services", "", &["create", "get", "list", "patch", "delete"]),
    ("", "configmaps", "", &["create", "get", "list", "patch", "delete"]),
    ("networking.k8s.io", "networkpolicies", "", &["create", "get", "list", "patch", "delete"]),
    ("policy", "poddisruptionbudgets", "", &["create", "get", "list", "patch", "delete"]),
    ("", "pods", "", &["get", "list", "watch"]),
    ("", "pods", "log", &["get"]),
    ("", "events", "", &["get", "list", "watch"]),
];

/// Whether the cluster answers, and is new enough.
pub(crate) async fn version(cluster: &Cluster) -> Finding {
    let asked = cluster.call("ask", "the version", cluster.client.apiserver_version()).await;
    let found = asked.map_err(|error| format!("{error:#}"))?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    match (number(&found.major), number(&found.minor)) {
        version if version >= OLDEST => Ok(format!("Kubernetes {}", found.git_version)),
        _ => Err(format!("Kubernetes {} is older than {}.{}", found.git_version, OLDEST.0, OLDEST.1)),
    }
}

/// Whether this user may do everything that the launcher does.
pub(crate) async fn rights(cluster: &Cluster) -> Finding {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let (mut missing, params) = (Vec::new(), PostParams::default());
    for (group, resource, subresource, verbs) in RIGHTS {
        for verb in verbs {
            let attributes = ResourceAttributes {
                group: Some(group.to_owned()),
                namespace: Some(cluster.namespace.clone()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
                verb: Some((*verb).to_owned()),
                ..Default::default()
            };
            let spec =
                SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            let asked = reviews.create(&params, &review);
            let answer =
                cluster.call("ask", "what you may", asked).await.map_err(|error| format!("{error:#}"))?;
            if !answer.status.is_some_and(|status| status.allowed) {
                let what = if subresource.is_empty() {
                    resource.to_owned()
                } else {
                    format!("{resource}/{subresource}")
                };
                missing.push(format!("{verb} {what}"));
            }
        }
    }
    match missing.is_empty() {
        true => Ok(format!("everything that a launch needs in namespace {}", cluster.namespace)),
        false => Err(format!("you may not: {}", missing.join(", "))),
    }
}

/// Whether the namespace takes objects, and how far its clock is from this machine's. Nothing is made.
pub(crate) async fn clock(cluster: &Cluster) -> Finding {
    let mut probe = ConfigMap::default();
    probe.metadata.name = Some("lockstep-doctor".to_owned());
    let dry_run = PostParams { dry_run: true, ..Default::default() };
    let files = cluster.api::<ConfigMap>();
    let made = cluster.call("make", "a ConfigMap, as a dry run,", files.create(&dry_run, &probe)).await;
    let made = made.map_err(|error| format!("{error:#}"))?;
    let Some(at) = made.creation_timestamp() else {
        return Ok("the cluster did not tell its time".to_owned());
    };
    skew((jiff::Timestamp::now().as_second() - at.0.as_second()).abs())
}

/// Whether a clock that is `off` this machine's by so many seconds, rounded down, will do.
pub(super) fn skew(off: i64) -> Finding {
    match off <= MAX_SKEW {
        true => Ok(format!("within {} s of this machine's", off + 1)),
        false => Err(format!("it differs from this machine's by {off} s")),
    }
}
