//! Windows of tokens that are a pure function, for a transformer to learn.

use super::blobs::Columns;
use super::{World, job_from};
use serde_json::{Value, json};
use tch::Tensor;

/// Tokens that a window gives to read.
pub const LENGTH: i64 = 16;
/// Tokens are below this.
pub const VOCAB: i64 = 60;

/// A world that trains a small GPT-2 on windows; `changes` are merged into its job.
pub fn world(changes: Value) -> World {
    let base = json!({
        "name": "test",
        "model": {
            "kind": "gpt", "layers": 2, "heads": 4, "width": 32, "context": LENGTH, "vocab": VOCAB,
        },
        "data": {"train": {"uri": "memory"}},
        "train": {"steps": 20, "globalBatch": 16, "clipGradNorm": 1.0},
        "optimizer": {"kind": "adamw", "lr": 1e-2},
        "log": {"every": "1 steps"},
    });
    let mut world = World::new(job_from(base, changes));
    world.data.columns = Some(columns);
    world
}

/// Each window counts on from somewhere, in steps of 1, 2 or 3, and starts over at 60.
///
/// Shapes: tokens `[n, 17]`, i32
pub fn columns(samples: &[u64]) -> Columns {
    let window = |sample: &u64| {
        let (from, by) = (*sample as i64 * 7, 1 + *sample as i64 % 3);
        (0..=LENGTH).map(move |place| ((from + by * place) % VOCAB) as i32)
    };
    let tokens: Vec<i32> = samples.iter().flat_map(window).collect();
    vec![("tokens".to_owned(), Tensor::from_slice(&tokens).view([samples.len() as i64, LENGTH + 1]))]
}
