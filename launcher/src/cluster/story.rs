//! What a job's objects mean: how far its start is, what it waits for, how it ended. Pure.

use super::objects::{
    is_late, is_over, is_started, is_suspended, last_words, machine, node, one_line, queue, succeeded,
    terminated,
};
use super::wait::Wait;
use super::waits::waits;
use super::watch::Scene;
use crate::view::coarse;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use lockstep_job::AgentExit;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Situation {
    /// Nodes that the Job wants.
    pub(crate) nodes: u32,
    /// The Kueue queue that held it back and let it go.
    pub(crate) admitted: Option<String>,
    /// Of those: pods that have a machine.
    pub(crate) scheduled: u32,
    /// Of those: agents that run.
    pub(crate) started: u32,
    /// What it waits for.
    pub(crate) waits: Vec<Wait>,
    /// How it ended.
    pub(crate) end: Option<End>,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// An agent left with 0: the run is done.
    Done,
    /// The run was stopped for good, and carries on when it is launched again.
    Stopped(String),
    /// It failed.
    Failed(String),
    /// Somebody suspended the Job, and its pods are gone.
    Suspended,
    /// Somebody deleted the Job.
    Deleted,
}

/// Says how far a job is.
pub(crate) fn tell(scene: &Scene, now: Timestamp) -> Situation {
    let Some(job) = scene.job() else {
        let end = scene.has_no_job().then_some(End::Deleted);
        return Situation { end, ..Situation::default() };
    };
    let newest = newest_pods(scene);
    let nodes = job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(0).max(0) as u32;
    let end = end(job, scene);
    let over = end.is_some() || newest.values().any(|pod| succeeded(pod));
    let living = || newest.values().filter(|pod| !is_over(pod));
    Situation {
        nodes,
        admitted: admitted(job),
        scheduled: living().filter(|pod| machine(pod).is_some()).count() as u32,
        started: living().filter(|pod| is_started(pod) && !is_late(pod, now)).count() as u32,
        // One whose end is known waits for nothing, not even for what its Job is about to take away.
        waits: if over { vec![] } else { waits(job, scene, &newest, nodes, now) },
        end,
    }
}

/// The newest pod of each node.
pub(super) fn newest_pods(scene: &Scene) -> BTreeMap<u32, &Pod> {
    let mut newest: BTreeMap<u32, &Pod> = BTreeMap::new();
    for pod in scene.pods.all() {
        let Some(node) = node(pod) else { continue };
        let age = |pod: &Pod| (!is_over(pod), pod.creation_timestamp());
        if newest.get(&node).is_none_or(|other| age(other) < age(pod)) {
            newest.insert(node, pod);
        }
    }
    newest
}

/// The queue of a Job that was held back and is no more. Without Kueue a Job has a queue too, and was never held back.
fn admitted(job: &Job) -> Option<String> {
    let resumed = conditions(job).iter().any(|c| c.type_ == "Suspended" && c.status == "False");
    queue(job).filter(|_| resumed && !is_suspended(job)).cloned()
}

fn conditions(job: &Job) -> &[JobCondition] {
    job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// How a Job ended, as far as the Job itself tells.
pub(crate) fn end_of(job: &Job) -> Option<End> {
    end(job, &Scene::default())
}

fn end(job: &Job, scene: &Scene) -> Option<End> {
    let holds = |kinds: &[&str]| {
        conditions(job).iter().find(|c| kinds.contains(&c.type_.as_str()) && c.status == "True")
    };
    // The final conditions come only after every pod is gone.
    if holds(&["SuccessCriteriaMet", "Complete"]).is_some() {
        return Some(End::Done);
    }
    if let Some(failed) = holds(&["FailureTarget", "Failed"]) {
        let words = scene.pods.all().find_map(fatal_words);
        return Some(match words.as_deref().and_then(|words| words.strip_prefix("stopped: ")) {
            Some(cause) => End::Stopped(cause.to_owned()),
            None => End::Failed(match words {
                Some(words) => words.strip_prefix("failed: ").unwrap_or(&words).to_owned(),
                None => one_line(
                    failed.message.as_deref().or(failed.reason.as_deref()).unwrap_or("the Job failed"),
                ),
            }),
        });
    }
    let started = conditions(job)
        .iter()
        .any(|c| c.type_ == "Suspended" && c.status == "True" && c.reason.as_deref() == Some("JobSuspended"));
    let gone = scene.pods.all().all(is_over);
    (is_suspended(job) && started && gone && queue(job).is_none()).then_some(End::Suspended)
}

/// The last words of an agent that ended the whole Job.
fn fatal_words(pod: &Pod) -> Option<String> {
    let ended = terminated(pod)
        .filter(|ended| AgentExit::FOR_GOOD.map(AgentExit::code).contains(&ended.exit_code))?;
    Some(last_words(ended.message.as_deref().unwrap_or_default())).filter(|words| !words.is_empty())
}

/// How long something lasts, for people.
pub(super) fn lasting(since: Duration) -> String {
    if since < Duration::from_secs(10) { format!("{:.1}s", since.as_secs_f64()) } else { coarse(since) }
}

#[cfg(test)]
mod tests {
    use super::super::objects::tests::{ended, pod};
    use super::super::watch::Mirror;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_queue_has_admitted_a_job_that_it_held_back() {
        let job = |queue: &str, suspend: bool, conditions: Value| -> Job {
            serde_json::from_value(json!({ "metadata": { "name": "a", "labels": { queue: "q" } }, "spec": { "suspend": suspend, "template": {} }, "status": { "conditions": conditions } })).unwrap()
        };
        let (kueue, none) = ("kueue.x-k8s.io/queue-name", json!([]));
        let resumed = json!([{ "type": "Suspended", "status": "False", "reason": "JobResumed" }]);
        assert_eq!(admitted(&job(kueue, false, resumed.clone())), Some("q".to_owned()));
        assert_eq!(admitted(&job(kueue, true, resumed.clone())), None);
        assert_eq!(admitted(&job("other", false, resumed)), None);
        // Without Kueue nobody holds it back.
        assert_eq!(admitted(&job(kueue, false, none)), None);
    }

    #[test]
    fn a_job_ends_as_its_newest_words_say() {
        let job = |condition: &str, suspend: bool| -> Job {
            let conditions = json!([{ "type": condition, "status": "True", "reason": "JobSuspended", "message": "pod failed" }]);
            serde_json::from_value(json!({ "metadata": { "name": "a" }, "spec": { "suspend": suspend, "template": {} }, "status": { "conditions": conditions } })).unwrap()
        };
        let with = |job: &Job, pod: Option<Pod>| {
            let scene = Scene { pods: Mirror::listed(pod), ..Scene::default() };
            end(job, &scene)
        };
        assert_eq!(with(&job("SuccessCriteriaMet", false), None), Some(End::Done));
        let (failed, suspended) = (job("FailureTarget", false), job("Suspended", true));
        assert_eq!(with(&failed, None), Some(End::Failed("pod failed".into())));
        let words = |text: &str| Some(ended(240, "Error", text));
        assert_eq!(with(&failed, words("failed: nan")), Some(End::Failed("nan".into())));
        assert_eq!(with(&failed, words("stopped: limits")), Some(End::Stopped("limits".into())));
        assert_eq!(with(&suspended, None), Some(End::Suspended));
        assert_eq!(with(&suspended, Some(pod(json!({ "phase": "Running" })))), None);
    }
}
