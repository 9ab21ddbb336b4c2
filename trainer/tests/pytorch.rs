//! PyTorch's DistributedDataParallel, from the same initial weights on the same batches, learns the same.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use serde_json::{Value, json};
use support::job;
use support::twin::{self, Twin};

/// Both add the same numbers, but not in the same order: a loss is a sum over samples here and a mean over micro batches
/// there. Over 50 steps that stays below this, relative to the loss, and absolutely for parameters.
const TOLERANCE: f64 = 2e-5;

fn learns_the_same(optimizer: Value, options: Value, clip: Option<f64>, exchange: &str) {
    let spec = || {
        job(json!({
            "nodes": 2, "model": {"hidden": [32]}, "optimizer": optimizer,
            "train": {"steps": 50, "globalBatch": 32, "microBatch": 4, "clipGradNorm": clip, "exchange": exchange},
        }))
    };
    let twin = Twin {
        model: json!({"kind": "mlp", "options": [[64, 32, 10]]}),
        input: "x",
        target: Some("label"),
        optimizer: json!({"kind": optimizer["kind"], "options": options}),
        losses_within: TOLERANCE,
        parameters_within: TOLERANCE,
    };
    twin::learns_the_same(spec, &twin);
}

#[test]
fn adamw_with_accumulation_clipping_and_a_schedule() {
    learns_the_same(
        json!({"kind": "adamw", "lr": 1e-2, "weightDecay": 0.1, "schedule": {"kind": "cosine", "warmup": "10%"}}),
        json!({"weight_decay": 0.1}),
        Some(0.5),
        "fp32",
    );
}

#[test]
fn sgd_with_momentum_accumulation_and_clipping() {
    learns_the_same(
        json!({"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weightDecay": 1e-3, "nesterov": true}),
        json!({"momentum": 0.9, "weight_decay": 1e-3, "nesterov": true}),
        Some(0.5),
        "fp32",
    );
}

#[test]
fn adamw_without_clipping() {
    learns_the_same(json!({"kind": "adamw", "lr": 1e-2}), json!({}), None, "fp32");
}

/// Exchanged in 32 bits here, parameters would be 3e-3 apart.
#[test]
fn gradients_exchanged_in_16_bits() {
    for exchange in ["bf16", "fp16"] {
        let sgd = json!({"kind": "sgd", "lr": 0.1, "momentum": 0.9});
        learns_the_same(sgd, json!({"momentum": 0.9}), Some(0.5), exchange);
    }
}
