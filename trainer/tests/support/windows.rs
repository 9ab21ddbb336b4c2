//! Windows of tokens that are a pure function, for a transformer to learn.

use super::blobs::Columns;
use super::{World, job};
use lockstep_job::JobSpec;
use serde_json::{Value, json};
use tch::Tensor;

/// Tokens that a window gives to read.
pub const LENGTH: i64 = 16;
/// Tokens are below this.
pub const VOCAB: i64 = 60;

/// A job for a small GPT-2; `changes` are merged into it.
pub fn gpt_job(changes: Value) -> JobSpec {
    let base = json!({
        "kind": "gpt", "hidden": null, "layers": 2, "heads": 4, "width": 32, "context": LENGTH, "vocab": VOCAB,
    });
    let mut changes = changes;
    let mut model = changes["model"].take();
    for (name, value) in base.as_object().unwrap() {
        model.as_object_mut().map(|model| model.entry(name).or_insert(value.clone()));
    }
    changes["model"] = if model.is_null() { base } else { model };
    job(changes)
}

/// A world that trains on windows.
pub fn world(changes: Value) -> World {
    let mut world = World::new(gpt_job(changes));
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
