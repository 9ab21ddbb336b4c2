//! What one object says by itself: a Job, a pod, an event. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Event as Notice, Pod,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;

/// The container that is a node.
const AGENT: &str = "agent";
/// Label of a pod that holds its node's index.
const INDEX_LABEL: &str = "batch.kubernetes.io/job-completion-index";
/// A pod that is gone this long after its grace period is named.
const LATE_AFTER: Duration = Duration::from_secs(5);

/// Whether a Job is not to have pods for now.
pub(super) fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false)
}

/// The Kueue queue that decides when a Job may have pods.
pub(super) fn queue(job: &Job) -> Option<&String> {
    job.labels().get("kueue.x-k8s.io/queue-name")
}

/// The node that a pod is.
pub(super) fn node(pod: &Pod) -> Option<u32> {
    pod.labels().get(INDEX_LABEL)?.parse().ok()
}

/// Whether its agent runs.
pub(super) fn is_started(pod: &Pod) -> bool {
    state(pod).is_some_and(|state| state.running.is_some())
}

/// Whether its agent ended.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether its agent left because the run is done.
pub(super) fn succeeded(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

/// Whether an agent of it has ever said anything.
pub(super) fn has_log(pod: &Pod) -> bool {
    has_past(pod) || speaks(pod)
}

/// Whether the log of its newest agent is there.
pub(super) fn speaks(pod: &Pod) -> bool {
    state(pod).is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Whether an agent before the newest one has left a log in this pod. The kubelet keeps one such; while the next agent is to
/// come, that is the pod's log.
pub(super) fn has_past(pod: &Pod) -> bool {
    before(pod).is_some()
}

/// How the agent before the newest one died in this pod.
fn before(pod: &Pod) -> Option<&ContainerStateTerminated> {
    agent(pod)?.last_state.as_ref()?.terminated.as_ref()
}

/// How its agent died, where it is to come back in this pod and hasn't yet.
pub(super) fn died(pod: &Pod) -> Option<&ContainerStateTerminated> {
    if is_over(pod) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let state = state(pod)?;
    match &state.terminated {
        // A pod with other containers isn't over with an agent that has left.
        Some(ended) => Some(ended).filter(|ended| brings_back(pod, ended.exit_code)),
        None => state.waiting.as_ref().and(before(pod)),
    }
}

/// How often its agent has died in this pod, for as long as the pod lives.
pub(super) fn deaths(pod: &Pod) -> i32 {
    agent(pod).map_or(0, |agent| agent.restart_count + i32::from(died(pod).is_some()))
}

/// How its agent died the last time, in this pod, as the end of a sentence.
pub(super) fn how_it_died(pod: &Pod) -> String {
    died(pod).or(before(pod)).map_or("died".to_owned(), |ended| how_it_left(pod, ended))
}

/// For how long the kubelet keeps an agent from coming back after its death, in its words.
pub(super) fn back_off(pod: &Pod) -> Option<&str> {
    let waiting = state(pod)?.waiting.as_ref()?;
    let message =
        waiting.message.as_deref().filter(|_| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    message?.strip_prefix("back-off ")?.split_whitespace().next()
}

fn brings_back(pod: &Pod, code: i32) -> bool {
    let agent = pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name == AGENT);
    let rules = agent.and_then(|agent| agent.restart_policy_rules.as_ref()).into_iter().flatten();
    let mut codes = rules.filter_map(|rule| rule.exit_codes.as_ref()?.values.as_ref()).flatten();
    codes.any(|named| *named == code)
}

/// Whether it should be gone: its machine likely is.
pub(super) fn is_late(pod: &Pod, now: Timestamp) -> bool {
    let due = pod.metadata.deletion_timestamp.as_ref();
    due.is_some_and(|at| now.duration_since(at.0).as_secs() >= LATE_AFTER.as_secs() as i64)
}

pub(super) fn machine(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn agent(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|container| container.name == AGENT)
}

pub(super) fn state(pod: &Pod) -> Option<&ContainerState> {
    agent(pod)?.state.as_ref()
}

pub(super) fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    state(pod)?.terminated.as_ref()
}

/// What its agent left as its last words, as they are.
pub(super) fn message(pod: &Pod) -> Option<&str> {
    terminated(pod)?.message.as_deref()
}

/// How a pod came to its end, as the end of a sentence.
pub(super) fn how_it_ended(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let disrupted = status.and_then(|status| status.conditions.as_ref()).and_then(|conditions| {
        conditions.iter().find(|c| c.type_ == "DisruptionTarget" && c.status == "True")
    });
    if let Some(disrupted) = disrupted {
        let what = match disrupted.reason.as_deref().unwrap_or_default() {
            "EvictionByEvictionAPI" => "was evicted, as when a machine is drained",
            "PreemptionByScheduler" => "made room for a pod of higher priority",
            "DeletionByTaintManager" => "was evicted because of a taint, such as that of a lost machine",
            "TerminationByKubelet" => {
                "was terminated by its machine, which ran short of a resource or shut down"
            }
            "DeletionByPodGC" => "was lost with its machine",
            other => return format!("was disrupted ({other})"),
        };
        return what.to_owned();
    }
    if let Some(reason) = status.and_then(|status| status.reason.as_deref()) {
        let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
        return format!("ended: {reason} {}", one_line(message)).trim_end().to_owned();
    }
    terminated(pod).map_or("ended".to_owned(), |ended| how_it_left(pod, ended))
}

/// How its agent left or died, as the end of a sentence.
pub(super) fn how_it_left(pod: &Pod, ended: &ContainerStateTerminated) -> String {
    let words = ended.message.as_deref().map(last_words).filter(|words| !words.is_empty());
    match (ended.reason.as_deref(), words) {
        (Some("OOMKilled"), _) => format!("was killed by the kernel: out of memory{}", memory_limit(pod)),
        (Some("StartError" | "ContainerCannotRun"), Some(words)) => format!("could not start: {words}"),
        (_, Some(words)) => format!("left with exit code {}: {words}", ended.exit_code),
        (_, None) => format!("left with exit code {}", ended.exit_code),
    }
}

fn memory_limit(pod: &Pod) -> String {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let limits =
        containers.iter().find(|c| c.name == AGENT).and_then(|c| c.resources.as_ref()?.limits.as_ref());
    limits
        .and_then(|limits| limits.get("memory"))
        .map_or(String::new(), |limit| format!(" (limit {})", limit.0))
}

/// What an agent wrote as its last word, or else the last line of its log that is no status line; the first may be cut, and of an
/// agent that was killed the last.
pub(super) fn last_words(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty() && !is_status(line));
    lines.next_back().unwrap_or_default().to_owned()
}

fn is_status(line: &str) -> bool {
    line.ends_with('}') || line.starts_with("{\"")
}

/// When an event was last seen.
pub(super) fn notice_time(notice: &Notice) -> Option<Timestamp> {
    let series = notice.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let single = notice.event_time.as_ref().map(|at| at.0);
    series
        .or(notice.last_timestamp.as_ref().map(|at| at.0))
        .or(single)
        .or(notice.creation_timestamp().map(|at| at.0))
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `Pulled` in words, where an image was really pulled.
pub(super) fn pulled(notice: &Notice) -> Option<String> {
    let message = notice.message.as_deref().filter(|_| notice.reason.as_deref() == Some("Pulled"))?;
    let (image, rest) = message.strip_prefix("Successfully pulled image ")?.split_once(" in ")?;
    let took = rest.split_whitespace().next()?;
    Some(format!("{} in {took}", image.trim_matches('"')))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::cluster) fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "a-0-x" },
            "spec": { "containers": [{ "name": "agent", "resources": { "limits": { "memory": "2Gi" } } }] },
            "status": status,
        }))
        .unwrap()
    }

    pub(in crate::cluster) fn ended(code: i32, reason: &str, message: &str) -> Pod {
        let terminated = json!({ "exitCode": code, "reason": reason, "message": message });
        let state = json!({ "terminated": terminated });
        pod(
            json!({ "phase": "Failed", "containerStatuses": [{ "name": "agent", "ready": false, "restartCount": 0, "image": "i", "imageID": "i", "state": state }] }),
        )
    }

    /// A pod that lives on, whose agent has this state now and had the other one before.
    pub(in crate::cluster) fn came_back(restarts: u32, state: Value, last: Value) -> Pod {
        let agent = json!({ "name": "agent", "ready": false, "restartCount": restarts, "image": "i", "imageID": "i", "state": state, "lastState": last });
        let mut pod = pod(json!({ "phase": "Running", "containerStatuses": [agent] }));
        let rules = json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [1, 137] } }]);
        pod.spec.as_mut().unwrap().containers[0].restart_policy_rules =
            Some(serde_json::from_value(rules).unwrap());
        pod
    }

    pub(in crate::cluster) fn dead(code: i32, reason: &str) -> Value {
        json!({ "terminated": { "exitCode": code, "reason": reason } })
    }

    pub(in crate::cluster) fn backing_off(period: &str) -> Value {
        let message = format!("back-off {period} restarting failed container=agent pod=a-0-x_n(uid)");
        json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } })
    }

    #[test]
    fn an_agent_that_died_is_told_from_one_that_left_and_from_one_that_is_back() {
        let (none, running) = (json!({}), json!({ "running": {} }));
        let mut leaving = came_back(0, dead(137, "Error"), none.clone());
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
        for (pod, code, times, period) in [
            (came_back(0, running.clone(), none.clone()), None, 0, None),
            (came_back(0, creating.clone(), none.clone()), None, 0, None),
            (came_back(0, dead(137, "Error"), none.clone()), Some(137), 1, None),
            (came_back(0, backing_off("10s"), dead(1, "Error")), Some(1), 1, Some("10s")),
            (came_back(1, running, dead(1, "Error")), None, 1, None),
            (came_back(3, backing_off("1m20s"), dead(137, "OOMKilled")), Some(137), 4, Some("1m20s")),
            // The kubelet is making its next container.
            (came_back(1, creating, dead(137, "Error")), Some(137), 2, None),
            // Another container of the pod lives on.
            (came_back(0, dead(143, "Error"), none), None, 0, None),
            (leaving, None, 0, None),
            (ended(137, "Error", ""), None, 0, None),
        ] {
            let found = (died(&pod).map(|ended| ended.exit_code), deaths(&pod), back_off(&pod));
            assert_eq!(found, (code, times, period), "{pod:#?}");
        }
    }

    #[test]
    fn the_end_of_a_pod_is_told_in_words() {
        let evicted =
            json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }]);
        for (pod, words) in [
            (ended(143, "Error", "was told to leave"), "left with exit code 143: was told to leave"),
            (ended(240, "Error", "failed: no space left"), "left with exit code 240: failed: no space left"),
            (ended(137, "OOMKilled", ""), "was killed by the kernel: out of memory (limit 2Gi)"),
            (
                ended(128, "StartError", "exec: lockstep-agent: not found"),
                "could not start: exec: lockstep-agent: not found",
            ),
            (ended(137, "Error", "a\"}\n{\"lockstep\":\"progr"), "left with exit code 137"),
            // The tail of a log, cut where it began, is no last word.
            (ended(1, "Error", "step\":1}\n{\"lockstep\":\"event\"}\n"), "left with exit code 1"),
            (
                pod(json!({ "phase": "Failed", "conditions": evicted })),
                "was evicted, as when a machine is drained",
            ),
            (
                pod(json!({ "phase": "Failed", "reason": "NodeLost", "message": "gone" })),
                "ended: NodeLost gone",
            ),
        ] {
            assert_eq!(how_it_ended(&pod), words);
        }
    }
}
