//! Checkpoints that can't be written, and a writer whose time is over.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::Step;
use lockstep_run::link::{FailureKind, WorkerMsg};
use lockstep_trainer::Error;
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Outcome, World, job};

/// A run in `folder`, where a file lies in the way of its checkpoints.
fn obstructed(folder: &Path, checkpoint: serde_json::Value) -> World {
    let mut world = World::new(job(json!({
        "nodes": 2, "checkpoint": checkpoint, "train": {"steps": 400}, "log": {"every": "100 steps"},
    })));
    world.uri = folder.to_str().unwrap().to_owned();
    std::fs::write(folder.join("checkpoints"), "in the way").unwrap();
    world
}

fn problems(outcome: &Outcome) -> Vec<String> {
    let text = |m: &WorkerMsg| match m {
        WorkerMsg::CheckpointProblem { text, .. } => Some(text.clone()),
        _ => None,
    };
    outcome.messages[0].iter().filter_map(text).filter(|text| text.contains("could not be written")).collect()
}

#[test]
fn too_many_failures_in_a_row_end_the_run_and_name_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = obstructed(folder.path(), json!({"every": "10 steps", "maxFailures": 3})).train();
    let first = outcome.ranks[0].as_ref().unwrap_err();
    assert!(matches!(first, Error::Saving { in_a_row: 3, .. }), "{first}");
    assert_eq!(first.kind(), FailureKind::Storage);
    assert!(first.to_string().contains(folder.path().to_str().unwrap()), "{first}");
    let told = problems(&outcome);
    assert!(told.len() == 2 && told[0].starts_with("could not be written (1 of 3)"), "{told:?}");
}

#[test]
fn a_failed_checkpoint_does_not_stop_training() {
    let folder = tempfile::tempdir().unwrap();
    let world = obstructed(folder.path(), json!({"every": "10 steps", "maxFailures": 1_000_000}));
    let controls = Mutex::new(Vec::new());
    let outcome = std::thread::scope(|scope| {
        let trained = scope.spawn(|| {
            world.train_with(|_, control| {
                control.hold_at(1, Step(200));
                controls.lock().unwrap().push(Arc::clone(control));
            })
        });
        // Training gets there although no checkpoint on the way could be written.
        let until = Instant::now() + Duration::from_secs(60);
        let held = || controls.lock().unwrap().iter().filter(|c| c.pulse().0 == Step(200)).count();
        while held() < 2 {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(folder.path().join("checkpoints")).unwrap();
        for control in controls.lock().unwrap().iter() {
            control.hold_at(2, Step(400));
        }
        trained.join().unwrap()
    });
    let outcome = outcome.done(400);
    assert!(!problems(&outcome).is_empty());
    assert_eq!(world.committed().last(), Some(&400));
}

#[test]
fn a_writer_of_an_older_generation_commits_nothing() {
    let world = World::new(job(json!({"nodes": 2, "checkpoint": {"every": "4 steps"}})));
    world.starts();
    world.resume(0).starts();
    let outcome = world.train();
    let first = outcome.ranks[0].as_ref().unwrap_err();
    assert!(matches!(first, Error::Run(lockstep_run::Error::Fenced { .. })), "{first}");
    assert_eq!(first.kind(), FailureKind::PeerLost);
    assert!(world.committed().is_empty());
}
