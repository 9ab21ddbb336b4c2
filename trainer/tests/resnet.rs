//! The residual networks: equal to PyTorch's, over any number of ranks, and the same after a loss.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_trainer::Stop;
use serde_json::{Value, json};
use support::twin::{self, Twin};
use support::{World, job_from};

/// Twenty layers over the 8 x 8 pictures of `support/blobs.rs`.
fn spec(changes: Value) -> JobSpec {
    let base = json!({
        "name": "test", "model": {"kind": "resnet", "depth": 20}, "data": {"train": {"uri": "memory"}},
        "train": {"steps": 20, "globalBatch": 16},
        "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weightDecay": 1e-4, "nesterov": true},
        "log": {"every": "1 steps"},
    });
    job_from(base, changes)
}

/// Normalisation divides by a deviation over few pixels here, which makes small differences large.
const TOLERANCE: f64 = 2e-3;

#[test]
fn pytorch_learns_the_same_on_one_rank_and_on_more() {
    for nodes in [1, 2] {
        let twin = Twin {
            model: json!({"kind": "resnet", "options": [20, 1, 10]}),
            input: "image",
            target: Some("label"),
            optimizer: json!({"kind": "sgd", "options": {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": true}}),
            losses_within: TOLERANCE,
            parameters_within: TOLERANCE,
        };
        twin::learns_the_same(|| spec(json!({"nodes": nodes, "train": {"clipGradNorm": 1.0}})), &twin);
    }
}

#[test]
fn what_was_lost_is_learned_again_with_the_same_bits() {
    for nodes in [1, 2] {
        let undisturbed = World::new(spec(json!({"nodes": nodes, "checkpoint": {"every": "7 steps"}})));
        undisturbed.train().done(20);
        let broken = World::new(undisturbed.job.clone());
        broken.train_with(|_, control| control.stop_at(Stop { step: Step(12), reason: "test".into() }));
        let resumed = broken.resume(7);
        resumed.train().done(20);
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert_eq!(
                undisturbed.checkpoint(20)[file],
                resumed.checkpoint(20)[file],
                "{nodes} ranks, {file}"
            );
        }
    }
}

/// An epoch's last step has fewer samples than ranks, and running statistics are those of the samples that there are.
#[test]
fn ranks_without_samples_take_part() {
    let changes = json!({
        "nodes": 4, "data": {"tail": "pad", "eval": {"uri": "memory"}}, "eval": {"every": "6 steps"},
        "train": {"steps": 6, "globalBatch": 8},
    });
    let mut world = World::new(spec(changes));
    (world.data.num_train, world.data.num_eval) = (17, 3);
    let outcome = world.train().done(6);
    assert!(outcome.losses().iter().all(|loss| loss.is_finite()), "{:?}", outcome.losses());
    assert!(outcome.eval()["loss"].is_finite());
}
