//! PyTorch's DistributedDataParallel, from the same initial weights on the same batches, learns the same.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_trainer::{Data, Stop};
use serde_json::{Value, json};
use support::blobs::NUM_INPUTS;
use support::{World, job, python};
use tch::Tensor;

const STEPS: u64 = 50;

/// Both add the same numbers, but not in the same order: a loss is a sum over samples here and a mean over micro batches
/// there. Over 50 steps that stays below this, relative to the loss, and absolutely for parameters.
const TOLERANCE: f64 = 2e-5;

/// All batches of all ranks.
///
/// Shapes: x `[steps, world, rows, 64]`, label `[steps, world, rows]`
fn batches(world: &World, job: &JobSpec) -> [(&'static str, Tensor); 2] {
    let (mut x, mut label) = (Vec::new(), Vec::new());
    let data: Vec<_> = (0..job.world_size()).map(|rank| world.data.rank(rank, job)).collect();
    let mut sources: Vec<_> = data.iter().map(|d| d.train(&d.start()).unwrap()).collect();
    for _ in 0..STEPS {
        for source in &mut sources {
            let batch = source.next().unwrap().batch;
            x.push(batch.column("x").unwrap().shallow_clone());
            label.push(batch.column("label").unwrap().shallow_clone());
        }
    }
    let rows = i64::from(job.train.global_batch / job.world_size());
    let shape = [STEPS as i64, i64::from(job.world_size()), rows];
    [
        ("x", Tensor::cat(&x, 0).view([shape[0], shape[1], shape[2], NUM_INPUTS as i64])),
        ("label", Tensor::cat(&label, 0).view(shape)),
    ]
}

fn learns_the_same(optimizer: Value, options: Value, clip: Option<f64>) {
    let spec = || {
        job(json!({
            "nodes": 2, "model": {"hidden": [32]}, "optimizer": optimizer,
            "train": {"steps": STEPS, "globalBatch": 32, "microBatch": 4, "clipGradNorm": clip},
        }))
    };
    let untrained = World::new(spec());
    untrained.train_with(|_, control| control.stop_at(Stop { step: Step(0), reason: "test".into() }));
    let world = World::new(spec());
    let ours = world.train().done(STEPS);
    let learning_rates: Vec<f64> = ours.reports().iter().filter_map(|p| p.lr).collect();

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("initial.safetensors"), &untrained.checkpoint(0)["model.safetensors"]).unwrap();
    std::fs::write(at("final.safetensors"), &world.checkpoint(STEPS)["model.safetensors"]).unwrap();
    Tensor::write_safetensors(&batches(&world, &world.job), at("batches.safetensors")).unwrap();
    let twin = json!({
        "worldSize": 2, "accumulation": world.job.accumulation(), "widths": [64, 32, 10], "clipGradNorm": clip,
        "optimizer": {"kind": optimizer["kind"], "options": options}, "learningRates": learning_rates,
    });
    std::fs::write(at("twin.json"), twin.to_string()).unwrap();
    let theirs: Value = serde_json::from_slice(&python::run("pytorch_twin.py", folder.path())).unwrap();

    let losses: Vec<f64> = serde_json::from_value(theirs["losses"].clone()).unwrap();
    let ours = ours.losses();
    assert!(ours[STEPS as usize - 1] < ours[0] / 2.0, "it learns: {ours:?}");
    for (step, (a, b)) in ours.iter().zip(&losses).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * a.max(1.0), "step {}: {a} here, {b} in PyTorch", step + 1);
    }
    assert!(
        theirs["difference"].as_f64().unwrap() <= TOLERANCE,
        "parameters differ by {}",
        theirs["difference"]
    );
}

#[test]
fn adamw_with_accumulation_clipping_and_a_schedule() {
    learns_the_same(
        json!({"kind": "adamw", "lr": 1e-2, "weightDecay": 0.1, "schedule": {"kind": "cosine", "warmup": "10%"}}),
        json!({"weight_decay": 0.1}),
        Some(0.5),
    );
}

#[test]
fn sgd_with_momentum_accumulation_and_clipping() {
    learns_the_same(
        json!({"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weightDecay": 1e-3, "nesterov": true}),
        json!({"momentum": 0.9, "weight_decay": 1e-3, "nesterov": true}),
        Some(0.5),
    );
}

#[test]
fn adamw_without_clipping() {
    learns_the_same(json!({"kind": "adamw", "lr": 1e-2}), json!({}), None);
}
