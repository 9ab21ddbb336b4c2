//! The example's own job file, on the example's own binary.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

#[path = "../../../tests/support/mod.rs"]
mod support;

use lockstep_job::{Source, parse};
use lockstep_run::link::{FailureKind, WorkerMsg, WorkerOutcome};
use std::path::{Path, PathBuf};
use support::Run;
use support::agent::Workers;

/// Trains to the end; what rank 0 said last, and the newest accuracy.
fn train(overrides: &[&str]) -> (WorkerOutcome, Option<f64>) {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let path = folder.join("job.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
    let mut job = parse(&Source { path, text }, &overrides).unwrap();
    job.resolve_paths(&folder).unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let run = Run::new(job, scratch.path().join("run").to_str().unwrap().to_owned());
    let mut starts = run.starts();
    starts.iter_mut().for_each(|start| start.scratch = scratch.path().to_owned());
    let workers = Workers::start(Path::new(env!("CARGO_BIN_EXE_custom-task")), starts, &[], scratch.path());
    let mut accuracy = None;
    let word = workers.wait_for("last word", |rank, message| match message {
        WorkerMsg::Report(report) => {
            accuracy = report.eval.get("accuracy").copied().or(accuracy);
            None
        }
        WorkerMsg::Finished(outcome) if rank == 0 => Some(outcome.clone()),
        _ => None,
    });
    (word, accuracy)
}

#[test]
fn the_job_file_trains_the_task() {
    let (word, accuracy) = train(&[]);
    assert!(matches!(word, WorkerOutcome::Done { .. }), "{word:?}");
    assert!(accuracy.is_some_and(|a| a > 0.95), "{accuracy:?}");
}

#[test]
fn a_config_that_does_not_fit_is_an_error_of_the_job() {
    let (word, _) = train(&["model.config.chanels=4"]);
    let WorkerOutcome::Failed(failure) = word else { panic!("{word:?}") };
    assert_eq!(failure.kind, FailureKind::Spec);
    assert!(failure.message.contains("unknown field `chanels`"), "{}", failure.message);
}

#[test]
fn a_label_that_no_class_has_is_named_with_its_sample() {
    let data = tempfile::tempdir().unwrap();
    let digits = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../../datasets/digits");
    let split = data.path().join("train");
    std::fs::create_dir(&split).unwrap();
    for file in std::fs::read_dir(digits.join("train")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), split.join(file.file_name())).unwrap();
    }
    // An index that promises five classes over digits up to 9.
    let index = split.join("index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let fewer = text.replace(r#""label":{"min":0.0,"max":9.0}"#, r#""label":{"min":0.0,"max":4.0}"#);
    assert_ne!(text, fewer);
    std::fs::write(&index, fewer).unwrap();
    let uri = format!("data.train.uri={}", data.path().display());
    let (word, _) = train(&[&uri, "data.eval=null"]);
    let WorkerOutcome::Failed(failure) = word else { panic!("{word:?}") };
    assert!(failure.message.contains(", but the model has 5 classes (0 to 4)"), "{}", failure.message);
    assert!(failure.message.contains("sample "), "{}", failure.message);
}
