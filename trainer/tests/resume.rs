//! N steps are k steps, the loss of everything, and N - k steps more: byte for byte.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::Step;
use lockstep_run::link::WorkerMsg;
use lockstep_trainer::Stop;
use serde_json::json;
use support::{World, job, task_of};

/// Dropout draws from the one generator of the process, which ranks that are threads share: with several ranks it is
/// tested on processes, in `processes.rs`.
fn resumes_with_the_same_bits(
    nodes: u32,
    optimizer: serde_json::Value,
    train: serde_json::Value,
    run_dir: Option<String>,
) {
    let dropout = if nodes == 1 { 0.3 } else { 0.0 };
    let mut all = json!({"steps": 24, "clipGradNorm": 1.0, "microBatch": 2});
    all.as_object_mut().unwrap().extend(train.as_object().unwrap().clone());
    let undisturbed = World::new(job(json!({
        "nodes": nodes,
        "model": {"dropout": dropout},
        "optimizer": optimizer,
        "train": all,
        "checkpoint": {"every": "7 steps", "keepLast": 10},
    })));
    undisturbed.train().done(24);
    let mut broken = World::new(undisturbed.job.clone());
    if let Some(uri) = run_dir {
        broken.uri = uri;
    }
    // Training goes past the checkpoint, and what came after it is lost.
    broken.train_with(|_, control| {
        control.stop_at(Stop { step: Step(17), reason: "test".into(), ends_run: true })
    });
    let before = broken.committed().into_iter().filter(|step| *step < 17).max().unwrap();
    let resumed = broken.resume(before);
    resumed.train().done(24);
    let (expected, found) = (undisturbed.checkpoint(24), resumed.checkpoint(24));
    assert!(expected.keys().eq(found.keys()), "{:?}", found.keys());
    let tensors: Vec<_> = expected.keys().filter(|file| file.ends_with(".safetensors")).collect();
    assert_eq!(tensors.len(), if train.get("ema").is_some() { 4 } else { 3 });
    for file in tensors {
        assert_eq!(expected[file], found[file], "{nodes} ranks, {file}");
    }
    let state = |files: &std::collections::BTreeMap<String, bytes::Bytes>| {
        let mut state: serde_json::Value = serde_json::from_slice(&files["state.json"]).unwrap();
        assert_eq!(state["step"], 24);
        state["generation"].take();
        state
    };
    assert_eq!(state(&expected), state(&found));
}

fn adamw() -> serde_json::Value {
    json!({"kind": "adamw", "lr": 1e-2, "schedule": {"kind": "cosine", "warmup": "10%"}})
}

fn sgd() -> serde_json::Value {
    json!({"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": true, "schedule": {"kind": "linear"}})
}

#[test]
fn one_rank_with_dropout() {
    resumes_with_the_same_bits(1, adamw(), json!({}), None);
    resumes_with_the_same_bits(1, sgd(), json!({}), None);
}

#[test]
fn two_ranks_on_files() {
    let folder = tempfile::tempdir().unwrap();
    resumes_with_the_same_bits(
        2,
        adamw(),
        json!({}),
        Some(folder.path().join("a").to_str().unwrap().to_owned()),
    );
    resumes_with_the_same_bits(
        2,
        sgd(),
        json!({}),
        Some(folder.path().join("b").to_str().unwrap().to_owned()),
    );
}

#[test]
fn four_ranks() {
    resumes_with_the_same_bits(4, adamw(), json!({}), None);
    resumes_with_the_same_bits(4, sgd(), json!({}), None);
}

#[test]
fn gradients_that_are_exchanged_in_16_bits() {
    resumes_with_the_same_bits(2, adamw(), json!({"exchange": "bf16"}), None);
    resumes_with_the_same_bits(4, sgd(), json!({"exchange": "fp16"}), None);
}

#[test]
fn an_average_of_the_parameters() {
    resumes_with_the_same_bits(1, sgd(), json!({"ema": {"decay": 0.9}}), None);
    resumes_with_the_same_bits(2, adamw(), json!({"ema": {}}), None);
}

/// The order of samples is the same, and the sums are added in another order: losses agree within 1e-5.
#[test]
fn another_world_size_goes_on_with_the_same_samples() {
    let world = World::new(job(json!({"nodes": 4, "train": {"steps": 20}})));
    let whole = world.train().done(20).losses();
    let first = World::new(job(json!({"nodes": 4, "train": {"steps": 20}})));
    first.train_with(|_, control| {
        control.stop_at(Stop { step: Step(12), reason: "test".into(), ends_run: true })
    });
    let mut resumed = first.resume(12);
    resumed.job = job(json!({"nodes": 2, "train": {"steps": 20}}));
    let rest = resumed.train().done(20).losses();
    for (a, b) in whole[12..].iter().zip(&rest) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(job(json!({"nodes": 2, "checkpoint": {"every": "4 steps"}})));
    world.uri = folder.path().to_str().unwrap().to_owned();
    world.train().done(10);
    let before = *world.committed().iter().rev().nth(1).unwrap();
    let of_the_last = |e: &std::fs::DirEntry| e.file_name().to_str().unwrap().starts_with("0000000010-1-");
    let checkpoints = std::fs::read_dir(folder.path().join("checkpoints")).unwrap();
    let newest = checkpoints.flatten().find(of_the_last).unwrap().path();
    let optimizer = newest.join("optimizer.safetensors");
    let mut bytes = std::fs::read(&optimizer).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&optimizer, bytes).unwrap();
    let outcome = world.resume(10).train().done(10);
    let told = |m: &WorkerMsg| match m {
        WorkerMsg::CheckpointProblem { step: Step(10), text } => Some(text.clone()),
        _ => None,
    };
    let text = outcome.messages[0].iter().find_map(told).unwrap();
    assert!(
        text.contains("optimizer.safetensors has blake3") && text.contains(&format!("used {before} instead")),
        "{text}"
    );
}

#[test]
fn a_checkpoint_of_another_model_or_data_is_refused_with_the_difference() {
    let world = World::new(job(json!({"nodes": 2})));
    world.train().done(10);
    let error = |resumed: &World| {
        let outcome = resumed.train();
        let first = outcome.ranks.into_iter().next().unwrap();
        first.unwrap_err().to_string()
    };
    let mut wider = world.resume(10);
    wider.job = job(json!({"nodes": 2, "model": {"hidden": [17]}}));
    wider.task = task_of(&wider.job);
    let text = error(&wider);
    assert!(text.contains("layers.0.weight is Float[16, 64], but this job needs Float[17, 64]"), "{text}");
    let mut sgd = world.resume(10);
    sgd.job = job(json!({"nodes": 2, "optimizer": {"kind": "sgd", "lr": 0.1}}));
    sgd.generation += 1;
    let text = error(&sgd);
    assert!(
        text.contains("optimizer.safetensors") && text.contains("which this job does not have"),
        "{text}"
    );
    let mut other = world.resume(10);
    other.generation += 2;
    other.data.num_train += 1;
    let text = error(&other);
    assert!(text.contains("digest blobs-160, but memory has blobs-161"), "{text}");
}
