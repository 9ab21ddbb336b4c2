//! A pod like those of a job, started for a moment to say what it finds around it.

use super::doctor::skew;
use super::objects::{how_it_ended, is_over, message};
use super::story::{End, newest_pods, tell};
use super::wait::Wait;
use super::watch::{Change, Scene, watch};
use super::{Cluster, create, remove};
use crate::Failure;
use crate::signals::Signals;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use lockstep_render::Objects;
use lockstep_run::checkup::{Checkup, Finding};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// A pod that has waited for the same thing so long is given up: whoever asks wants to know what it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often waits and deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

/// What became of the pod.
#[derive(Debug)]
pub(crate) enum Inside {
    /// It looked around.
    Seen {
        /// Where, and how long it took to get there.
        place: String,
        /// How far its clock is from this machine's.
        clock: Finding,
        /// What it found.
        checkup: Checkup,
    },
    /// It didn't come so far.
    Unseen {
        /// Why.
        why: String,
        /// What helps, where that is known.
        fix: Option<String>,
    },
}

/// Makes `objects`, of one pod that is asked for a checkup, waits `most` for its answer, and takes them away again.
///
/// # Errors
/// Where it was told to stop, or they can't be taken away; then they go by themselves later.
pub(crate) async fn look_inside(
    cluster: &Cluster,
    objects: &Objects,
    most: Duration,
) -> anyhow::Result<Inside> {
    let (name, since) = (objects.service.name_any(), Timestamp::now());
    // Heard from before there is anything that has to be taken away.
    let mut signals = Signals::listen()?;
    if let Err(error) = create(cluster, objects).await {
        return Ok(Inside::Unseen { why: format!("{error:#}"), fix: None });
    }
    let seen: anyhow::Result<Inside> = tokio::select! {
        seen = wait(cluster, &name, since, most) => Ok(seen),
        signal = signals.next() => {
            Err(Failure::new("interrupted; the pod is gone").with_exit(signal.into()).into())
        }
    };
    remove(cluster, &name).await?;
    seen
}

async fn wait(cluster: &Cluster, name: &str, since: Timestamp, most: Duration) -> Inside {
    let (mut changes, mut scene) = (watch(cluster, name), Scene::default());
    let (began, mut waits): (_, Option<(Wait, Instant)>) = (Instant::now(), None);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(change) = changes.next() => match change {
                Change::Refused(why) => return Inside::Unseen { why: format!("can't watch it: {why}"), fix: None },
                change => scene.take(name, change),
            },
            _ = ticks.tick() => {}
        }
        if let Some(pod) = newest_pods(&scene).into_values().find(|pod| is_over(pod)) {
            return ended(pod, since, Timestamp::now());
        }
        let standing = tell(&scene, Timestamp::now());
        if let Some(End::Failed(why)) = standing.end {
            return Inside::Unseen { why, fix: None };
        }
        waits = standing.waits.into_iter().next().map(|wait| match waits.take() {
            Some((same, since)) if same.subject() == wait.subject() => (wait, since),
            _ => (wait, Instant::now()),
        });
        match &waits {
            Some((wait, since)) if since.elapsed() > PATIENCE => {
                return Inside::Unseen { why: wait.to_string(), fix: wait.fix(name) };
            }
            _ if began.elapsed() > most => {
                let why = format!("it didn't end within {most:?}");
                return Inside::Unseen {
                    why,
                    fix: Some(format!(
                        "raise kubernetes.startTimeout if that is normal, or see: lockstep events {name}"
                    )),
                };
            }
            _ => {}
        }
    }
}

/// What a pod that has ended says; it was made after `since`, and heard of at `now`, by this machine's clock.
fn ended(pod: &Pod, since: Timestamp, now: Timestamp) -> Inside {
    let Some(checkup) = message(pod).and_then(|words| serde_json::from_str::<Checkup>(words).ok()) else {
        let fix = "check that kubernetes.image, or agentImage, holds lockstep-agent of this version";
        return Inside::Unseen { why: format!("it {}", how_it_ended(pod)), fix: Some(fix.to_owned()) };
    };
    let machine =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("an unknown machine");
    let place = format!(
        "ran on {machine}, and had looked around {:.1} s after it was asked for",
        now.duration_since(since).as_secs_f64()
    );
    Inside::Seen { place, clock: clock(&checkup, since, now), checkup }
}

/// The pod looked at its clock after `since` and before `now`.
fn clock(checkup: &Checkup, since: Timestamp, now: Timestamp) -> Finding {
    let at = i64::try_from(checkup.at_unix_ms).unwrap_or(i64::MAX);
    let off = (since.as_millisecond() - at).max(at - now.as_millisecond()).max(0) / 1000;
    skew(off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn over(message: &str, exit_code: i32) -> Pod {
        let terminated = json!({ "exitCode": exit_code, "message": message });
        let status = json!({ "name": "agent", "ready": false, "restartCount": 0, "image": "i", "imageID": "i", "state": { "terminated": terminated } });
        serde_json::from_value(json!({
            "metadata": { "name": "doctor-0-x" },
            "spec": { "containers": [{ "name": "agent" }], "nodeName": "node-1" },
            "status": { "phase": "Succeeded", "containerStatuses": [status] },
        }))
        .unwrap()
    }

    fn seen(at_unix_ms: u64) -> Inside {
        let checkup = Checkup { at_unix_ms, dns: Ok("d".into()), storage: Err("s".into()), gpus: None };
        let (since, now) = (Timestamp::from_second(1000).unwrap(), Timestamp::from_second(1002).unwrap());
        ended(&over(&serde_json::to_string(&checkup).unwrap(), 0), since, now)
    }

    #[test]
    fn a_pods_clock_is_compared_with_the_time_in_which_it_can_have_looked() {
        for (at, skew) in [
            (1001, Ok("within 1 s")),
            (995, Ok("within 6 s")),
            (1062, Ok("within 61 s")),
            (900, Err("by 100 s")),
            (1102, Err("by 100 s")),
        ] {
            let Inside::Seen { place, clock, checkup } = seen(at * 1000) else { panic!("unseen") };
            assert!(place.starts_with("ran on node-1, and had looked around 2.0 s"), "{place}");
            assert_eq!(checkup.storage, Err("s".to_owned()));
            match skew {
                Ok(words) => assert!(clock.as_ref().unwrap().contains(words), "{clock:?}"),
                Err(words) => assert!(clock.as_ref().unwrap_err().contains(words), "{clock:?}"),
            }
        }
    }

    #[test]
    fn a_pod_with_another_agent_says_so() {
        let words = "error: unrecognized subcommand 'checkup'";
        let Inside::Unseen { why, fix } =
            ended(&over(words, 2), Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
        else {
            panic!("seen");
        };
        assert_eq!(why, format!("it left with exit code 2: {words}"));
        assert!(fix.unwrap().contains("lockstep-agent of this version"));
    }
}
