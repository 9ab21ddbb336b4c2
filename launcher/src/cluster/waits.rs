//! What a job waits for, from its objects. Pure.

use super::kueue::WORKLOAD;
use super::objects::{
    back_off, died, has_log, how_it_ended, how_it_left, is_late, is_over, is_suspended, machine, notice_time,
    one_line, queue, state,
};
use super::wait::Wait;
use super::watch::Scene;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus, Event as Notice, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Reasons of a container that waits, because its image can't be had.
const NO_IMAGE: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
/// Reasons of a container that waits, because it can't be made.
const NO_CONTAINER: [&str; 3] = ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"];

/// Why a run that has not ended doesn't get on.
pub(super) fn waits(
    job: &Job,
    scene: &Scene,
    newest: &BTreeMap<u32, &Pod>,
    nodes: u32,
    now: Timestamp,
) -> Vec<Wait> {
    if is_suspended(job) {
        return vec![match queue(job) {
            Some(queue) => Wait::Queue { queue: queue.clone(), message: queue_message(scene) },
            None => Wait::Suspended,
        }];
    }
    let mut waits = Vec::new();
    if (newest.len() as u32) < nodes {
        waits.extend(
            newest_notice(scene, "Job", None, &["FailedCreate"])
                .map(|notice| Wait::Refused { message: said(notice) }),
        );
    }
    let unscheduled: Vec<_> = newest.values().filter_map(|pod| unschedulable(pod)).collect();
    if let Some(message) = unscheduled.first() {
        waits.push(Wait::Unschedulable {
            pods: unscheduled.len() as u32,
            of: nodes,
            message: message.clone(),
        });
    }
    for (node, pod) in newest {
        waits.extend(starting(pod, scene));
        if is_late(pod, now) && !is_over(pod) {
            let machine = machine(pod).unwrap_or_default().to_owned();
            waits.push(Wait::Terminating { pod: pod.name_any(), machine });
        } else if is_over(pod) {
            waits.push(Wait::Replacement { node: *node, how: how_it_ended(pod) });
        } else if let Some(ended) = died(pod) {
            let back_off = back_off(pod).map(str::to_owned);
            let (pod, how) = (pod.name_any(), how_it_left(pod, ended));
            waits.push(Wait::Return { node: *node, pod, how, back_off });
        }
    }
    waits.sort();
    waits.dedup();
    waits
}

/// What the scheduler says, without what preemption came to.
fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let refused = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let message = refused.message.as_deref().unwrap_or("no machine was found yet");
    let end = ["preemption:", "no new claims"].iter().filter_map(|word| message.find(word)).min();
    Some(message[..end.unwrap_or(message.len())].trim().trim_end_matches('.').to_owned())
}

/// Why a pod that has a machine doesn't start.
fn starting(pod: &Pod, scene: &Scene) -> Option<Wait> {
    let name = pod.name_any();
    if let Some((container, waiting)) = held_up(pod) {
        let reason = waiting.reason.clone().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_else(|| reason.clone());
        if NO_CONTAINER.contains(&reason.as_str()) {
            return Some(Wait::Container { pod: name, message: one_line(&message) });
        }
        let told = newest_notice(scene, "Pod", Some(&name), &["Failed"]).map(said);
        let message = told.filter(|told| told.contains("image")).unwrap_or_else(|| one_line(&message));
        return Some(Wait::Image { image: container.image.clone(), message });
    }
    if machine(pod).is_none() || has_log(pod) || is_over(pod) {
        return None;
    }
    let told = ["Pulling", "Pulled", "FailedMount", "FailedAttachVolume"];
    let newest = newest_notice(scene, "Pod", Some(&name), &told)?;
    match newest.reason.as_deref() {
        Some("Pulled") => None,
        Some("Pulling") => {
            let image = newest.message.as_deref().and_then(|message| message.split('"').nth(1));
            image.map(|image| Wait::Pulling { image: image.to_owned() })
        }
        _ => Some(Wait::Volume { pod: name, message: said(newest) }),
    }
}

/// The container that keeps a pod from starting: one of those that run before the agent, or the agent's.
fn held_up(pod: &Pod) -> Option<(&ContainerStatus, &ContainerStateWaiting)> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waiting = all.filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)));
    let held_up = |waiting: &ContainerStateWaiting| {
        waiting
            .reason
            .as_deref()
            .is_some_and(|reason| NO_IMAGE.contains(&reason) || NO_CONTAINER.contains(&reason))
    };
    waiting
        .filter(|_| state(pod).is_none_or(|state| state.running.is_none()))
        .find(|(_, waiting)| held_up(waiting))
}

/// What was last said of an object, for one of these reasons or, where none is named, for any.
fn newest_notice<'s>(
    scene: &'s Scene,
    kind: &str,
    name: Option<&str>,
    reasons: &[&str],
) -> Option<&'s Notice> {
    let fits = |notice: &&Notice| {
        notice.involved_object.kind.as_deref() == Some(kind)
            && name.is_none_or(|name| notice.involved_object.name.as_deref() == Some(name))
            && (reasons.is_empty()
                || notice.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)))
    };
    scene.notices.all().filter(fits).max_by_key(|notice| notice_time(notice))
}

fn said(notice: &Notice) -> String {
    one_line(notice.message.as_deref().unwrap_or_default())
}

fn queue_message(scene: &Scene) -> String {
    // Whatever Kueue said last of a Job that it holds back is why.
    newest_notice(scene, WORKLOAD, None, &[]).map(said).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::objects::tests::{backing_off, came_back, dead};
    use super::super::story::{Situation, tell};
    use super::super::watch::Mirror;
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        let index = "batch.kubernetes.io/job-completion-index";
        serde_json::from_value(json!({
            "metadata": { "name": "a-0-x", "labels": { index: "0" } },
            "spec": { "nodeName": "m", "containers": [{ "name": "agent", "image": "app" }] },
            "status": status,
        }))
        .unwrap()
    }

    fn container(name: &str, image: &str, state: Value) -> Value {
        json!({ "name": name, "ready": false, "restartCount": 0, "image": image, "imageID": "", "state": state })
    }

    fn notice(reason: &str, message: &str, second: u32) -> Notice {
        serde_json::from_value(json!({
            "metadata": { "name": format!("{reason}-{second}") },
            "involvedObject": { "kind": "Pod", "name": "a-0-x" },
            "reason": reason, "message": message, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    fn situation(pods: Vec<Pod>, notices: Vec<Notice>) -> Situation {
        let job: Job = serde_json::from_value(
            json!({ "metadata": { "name": "a" }, "spec": { "completions": 1, "template": {} } }),
        )
        .unwrap();
        let (jobs, pods, notices) = (Mirror::listed([job]), Mirror::listed(pods), Mirror::listed(notices));
        tell(&Scene { jobs, pods, notices }, Timestamp::UNIX_EPOCH)
    }

    fn words(pods: Vec<Pod>, notices: Vec<Notice>) -> Vec<String> {
        situation(pods, notices).waits.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_image_that_is_being_pulled_is_named() {
        let creating = || {
            pod(
                json!({ "containerStatuses": [container("agent", "app", json!({ "waiting": { "reason": "ContainerCreating" } }))] }),
            )
        };
        let pulling = || notice("Pulling", "Pulling image \"registry.example/app:1\"", 1);
        assert_eq!(words(vec![creating()], vec![pulling()]), ["pulling registry.example/app:1"]);
        let pulled = notice("Pulled", "Successfully pulled image \"registry.example/app:1\" in 2s", 2);
        assert!(words(vec![creating()], vec![pulling(), pulled]).is_empty());
        assert!(words(vec![creating()], vec![]).is_empty());
    }

    #[test]
    fn a_pull_that_fails_is_the_same_wait_in_other_words() {
        let failing = |reason: &str| {
            let state = json!({ "waiting": { "reason": reason, "message": "Back-off pulling image" } });
            pod(json!({ "containerStatuses": [container("agent", "registry.example/app:1", state)] }))
        };
        let pulling = notice("Pulling", "Pulling image \"registry.example/app:1\"", 1);
        let failed = notice("Failed", "Failed to pull image: no such host", 2);
        let first = situation(vec![pod(json!({}))], vec![pulling.clone()]);
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let now = situation(vec![failing(reason)], vec![pulling.clone(), failed.clone()]);
            assert_eq!(now.waits[0].subject(), first.waits[0].subject());
            assert_eq!(
                now.waits[0].to_string(),
                "image registry.example/app:1 can't be pulled: Failed to pull image: no such host"
            );
        }
    }

    #[test]
    fn the_image_of_a_container_before_the_agent_is_named_too() {
        let state = json!({ "waiting": { "reason": "ErrImagePull", "message": "no such host" } });
        let before = container("install", "registry.example/agent:1", state);
        let agent = container("agent", "app", json!({ "waiting": { "reason": "PodInitializing" } }));
        let pod = pod(json!({ "initContainerStatuses": [before], "containerStatuses": [agent] }));
        assert_eq!(
            words(vec![pod], vec![]),
            ["image registry.example/agent:1 can't be pulled: no such host"]
        );
    }

    #[test]
    fn a_run_that_is_done_waits_for_no_other_pod() {
        let state = |code: i32| json!({ "terminated": { "exitCode": code } });
        let of = |phase: &str, code: i32| {
            pod(json!({ "phase": phase, "containerStatuses": [container("agent", "app", state(code))] }))
        };
        assert_eq!(words(vec![of("Succeeded", 0)], vec![]), [""; 0]);
        let lost = words(vec![of("Failed", 1)], vec![]);
        assert_eq!(lost, ["for the next pod of node 0, whose last one left with exit code 1"]);
    }

    #[test]
    fn an_agent_that_is_to_come_back_is_a_wait_with_its_reason_and_how_long() {
        let index = "batch.kubernetes.io/job-completion-index";
        let of_node_0 = |mut pod: Pod| {
            pod.metadata.labels = Some([(index.to_owned(), "0".to_owned())].into());
            pod
        };
        let (none, running) = (json!({}), json!({ "running": {} }));
        for (pod, told, fix) in [
            (came_back(1, running, dead(137, "Error")), None, None),
            (
                came_back(0, dead(137, "Error"), none),
                Some("for the agent of node 0, which left with exit code 137, to come back in its pod"),
                Some("if it lasts: kubectl delete pod a-0-x, and the Job makes another"),
            ),
            (
                came_back(2, backing_off("20s"), dead(1, "Error")),
                Some(
                    "for the agent of node 0, which left with exit code 1, to come back in its pod: after deaths one upon another the kubelet waits, now 20s (CrashLoopBackOff)",
                ),
                Some("lockstep logs a --previous shows what it said before"),
            ),
            (
                came_back(2, backing_off("20s"), dead(137, "OOMKilled")),
                Some(
                    "for the agent of node 0, which was killed by the kernel: out of memory (limit 2Gi), to come back in its pod: after deaths one upon another the kubelet waits, now 20s (CrashLoopBackOff)",
                ),
                Some("raise kubernetes.resources.memory"),
            ),
        ] {
            let situation = situation(vec![of_node_0(pod)], vec![]);
            assert_eq!((situation.end, situation.started), (None, u32::from(told.is_none())));
            assert_eq!(situation.waits.first().map(ToString::to_string).as_deref(), told);
            assert_eq!(situation.waits.first().and_then(|wait| wait.fix("a")).as_deref(), fix);
        }
    }

    #[test]
    fn the_scheduler_is_quoted_without_what_preemption_came_to() {
        let message = "0/6 nodes are available: 6 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/6 nodes are available: 6 No preemption victims found.";
        let refused =
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": message }] });
        let told = unschedulable(&pod(refused)).unwrap();
        assert_eq!(told, "0/6 nodes are available: 6 Insufficient nvidia.com/gpu");
    }
}
