//! What the cluster itself says about a run: its events, as ours.

use super::objects::{notice_time, one_line};
use super::watch::concerns;
use super::{Cluster, ClusterRun};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as Notice;
use kube::api::ListParams;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::{Generation, NodeId};

/// The warnings that a cluster has of a run's Job and pods, in order of time; it forgets them after an hour.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(crate) async fn warnings(run: &ClusterRun) -> anyhow::Result<Vec<Event>> {
    let ClusterRun { cluster, name, .. } = run;
    let mut events: Vec<_> = all(cluster).await?.iter().filter_map(|notice| warning(notice, name)).collect();
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// All events of the namespace.
///
/// # Errors
/// Where the cluster doesn't show them.
pub(super) async fn all(cluster: &Cluster) -> anyhow::Result<Vec<Notice>> {
    let notices = cluster.api::<Notice>();
    Ok(cluster.call("list", "events", notices.list(&ListParams::default())).await?.items)
}

fn warning(notice: &Notice, name: &str) -> Option<Event> {
    if notice.type_.as_deref() != Some("Warning") || !concerns(notice, name) {
        return None;
    }
    let at = Timestamp::from_nanosecond(notice_time(notice)?.as_nanosecond()).ok()?;
    let reason = notice.reason.as_deref().unwrap_or("Warning");
    let message = one_line(notice.message.as_deref().unwrap_or_default());
    let series = notice.series.as_ref().and_then(|series| series.count);
    let times = match series.or(notice.count) {
        Some(count) if count > 1 => format!(" ({count} times)"),
        _ => String::new(),
    };
    Some(Event {
        at,
        generation: Generation(0),
        node: node_of(notice.involved_object.name.as_deref()?, name),
        rank: None,
        kind: EventKind::Cluster,
        text: format!("{reason}: {message}{times}"),
        step: None,
        seconds: None,
        uri: None,
    })
}

/// A pod is called after its Job and its index: `digits-1-x7k2p`.
fn node_of(object: &str, name: &str) -> Option<NodeId> {
    let (index, _) = object.strip_prefix(name)?.strip_prefix('-')?.split_once('-')?;
    index.parse().ok().map(NodeId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn warnings_of_the_run_are_told_and_nothing_else() {
        let notice = |kind: &str, object: &str, count: u32| -> Notice {
            serde_json::from_value(json!({
                "metadata": {}, "type": kind, "reason": "FailedMount", "message": "no\nsecret", "count": count,
                "involvedObject": { "name": object }, "lastTimestamp": "2026-01-02T03:04:05Z",
            }))
            .unwrap()
        };
        let told = warning(&notice("Warning", "digits-1-x7k2p", 3), "digits").unwrap();
        assert_eq!((told.text.as_str(), told.node), ("FailedMount: no secret (3 times)", Some(NodeId(1))));
        assert_eq!(told.at.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(warning(&notice("Warning", "digits", 1), "digits").unwrap().node, None);
        assert_eq!(warning(&notice("Normal", "digits-1-x7k2p", 1), "digits"), None);
        assert_eq!(warning(&notice("Warning", "letters-1-x7k2p", 1), "digits"), None);
    }
}
