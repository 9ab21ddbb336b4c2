//! PyTorch's DistributedDataParallel, from the same initial weights on the same batches, learns the same.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_trainer::{Data, Stop};
use serde_json::{Value, json};
use support::windows::{self, LENGTH, VOCAB};
use support::{World, job, python};
use tch::Tensor;

const STEPS: u64 = 50;

/// Both add the same numbers, but not in the same order: a loss is a sum over samples here and a mean over micro batches
/// there. Over 50 steps that stays below this, relative to the loss, and absolutely for parameters.
const TOLERANCE: f64 = 2e-5;

/// All batches of all ranks.
///
/// Shapes: each column `[steps, world, rows, ...]`
fn batches(world: &World, job: &JobSpec) -> Vec<(String, Tensor)> {
    let data: Vec<_> = (0..job.world_size()).map(|rank| world.data.rank(rank, job)).collect();
    let mut sources: Vec<_> = data.iter().map(|d| d.train(&d.start()).unwrap()).collect();
    let mut batches = Vec::new();
    for _ in 0..STEPS {
        batches.extend(sources.iter_mut().map(|source| source.next().unwrap().batch));
    }
    let column = |name: &str| {
        let parts: Vec<_> = batches.iter().map(|b| b.column(name).unwrap().shallow_clone()).collect();
        let all = Tensor::stack(&parts, 0);
        let mut shape = vec![STEPS as i64, i64::from(job.world_size())];
        shape.extend(&all.size()[1..]);
        (name.to_owned(), all.view(shape.as_slice()))
    };
    world.task.columns().unwrap().into_iter().map(column).collect()
}

/// Trains here and there. `twin` is what the script needs to know: the model, and the optimizer's options.
fn learns_the_same(new: impl Fn() -> World, mut twin: Value) {
    let untrained = new();
    untrained.train_with(|_, control| control.stop_at(Stop { step: Step(0), reason: "test".into() }));
    let world = new();
    let ours = world.train().done(STEPS);
    let learning_rates: Vec<f64> = ours.reports().iter().filter_map(|p| p.lr).collect();

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("initial.safetensors"), &untrained.checkpoint(0)["model.safetensors"]).unwrap();
    std::fs::write(at("final.safetensors"), &world.checkpoint(STEPS)["model.safetensors"]).unwrap();
    Tensor::write_safetensors(&batches(&world, &world.job), at("batches.safetensors")).unwrap();
    let job = &world.job;
    twin["worldSize"] = job.world_size().into();
    twin["accumulation"] = job.accumulation().into();
    twin["clipGradNorm"] = json!(job.train.clip_grad_norm);
    twin["learningRates"] = json!(learning_rates);
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

fn mlp_learns_the_same(optimizer: Value, options: Value, clip: Option<f64>) {
    let new = || {
        World::new(job(json!({
            "nodes": 2, "model": {"hidden": [32]}, "optimizer": optimizer,
            "train": {"steps": STEPS, "globalBatch": 32, "microBatch": 4, "clipGradNorm": clip},
        })))
    };
    let optimizer = json!({"kind": optimizer["kind"], "options": options});
    learns_the_same(new, json!({"kind": "mlp", "model": {"widths": [64, 32, 10]}, "optimizer": optimizer}));
}

#[test]
fn adamw_with_accumulation_clipping_and_a_schedule() {
    mlp_learns_the_same(
        json!({"kind": "adamw", "lr": 1e-2, "weightDecay": 0.1, "schedule": {"kind": "cosine", "warmup": "10%"}}),
        json!({"weight_decay": 0.1}),
        Some(0.5),
    );
}

#[test]
fn sgd_with_momentum_accumulation_and_clipping() {
    mlp_learns_the_same(
        json!({"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weightDecay": 1e-3, "nesterov": true}),
        json!({"momentum": 0.9, "weight_decay": 1e-3, "nesterov": true}),
        Some(0.5),
    );
}

#[test]
fn adamw_without_clipping() {
    mlp_learns_the_same(json!({"kind": "adamw", "lr": 1e-2}), json!({}), None);
}

/// A GPT-2, whose vocabulary of 60 is padded here and not there.
#[test]
fn gpt2_with_accumulation_and_clipping_on_1_2_and_4_ranks() {
    for nodes in [1, 2, 4] {
        let new = || {
            windows::world(json!({
                "nodes": nodes, "optimizer": {"lr": 3e-3, "weightDecay": 0.1},
                "train": {"steps": STEPS, "globalBatch": 16, "microBatch": 8 / nodes, "clipGradNorm": 1.0},
            }))
        };
        let model = json!({"layers": 2, "heads": 4, "width": 32, "context": LENGTH, "vocab": VOCAB});
        let optimizer = json!({"kind": "adamw", "options": {"weight_decay": 0.1}});
        learns_the_same(new, json!({"kind": "gpt2", "model": model, "optimizer": optimizer}));
    }
}
