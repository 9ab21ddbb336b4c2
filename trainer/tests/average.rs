//! The moving average of the parameters: what it is, what sees it, and that training doesn't.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::{StartFrom, Step, WeightsFrom};
use lockstep_trainer::Stop;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{World, block_on, job};
use tch::{Kind, Tensor};

const DECAY: f64 = 0.75;

fn averaging(changes: Value) -> World {
    let mut world = json!({
        "nodes": 2, "data": {"eval": {"uri": "memory"}}, "eval": {"every": "2 steps"},
        "train": {"steps": 4, "ema": {"decay": DECAY}},
    });
    for (key, value) in changes.as_object().unwrap() {
        world[key] = value.clone();
    }
    let mut world = World::new(job(world));
    world.data.num_eval = 40;
    world
}

/// The same without an average and without evaluation.
fn plain() -> World {
    World::new(job(json!({"nodes": 2, "train": {"steps": 4}})))
}

fn stopped_at(world: &World, step: u64) {
    let stopped = world.train_with(|_, control| {
        control.stop_at(Stop { step: Step(step), reason: "test".into(), ends_run: true })
    });
    assert!(stopped.ranks.iter().all(Result::is_ok), "{:?}", stopped.ranks);
}

/// The tensors of a file of a checkpoint.
fn read(world: &World, step: u64, file: &str) -> BTreeMap<String, Tensor> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(copy.path(), &world.checkpoint(step)[file]).unwrap();
    Tensor::read_safetensors(copy.path()).unwrap().into_iter().collect()
}

/// The parameters after each of the first four steps, and before them.
fn history() -> Vec<BTreeMap<String, Tensor>> {
    let after = |step| {
        let world = plain();
        stopped_at(&world, step);
        read(&world, step, "model.safetensors")
    };
    (0..=4).map(after).collect()
}

/// Of these parameters, one set after another, the first of which is where it begins.
fn average(history: &[BTreeMap<String, Tensor>]) -> BTreeMap<String, Tensor> {
    let mut average: BTreeMap<_, _> =
        history[0].iter().map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::Double))).collect();
    for parameters in &history[1..] {
        for (name, average) in &mut average {
            *average = &*average * DECAY + parameters[name].to_kind(Kind::Double) * (1.0 - DECAY);
        }
    }
    average
}

fn assert_close(found: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>) {
    assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
    for (name, expected) in expected {
        let apart = (&found[name] - expected).abs().max().double_value(&[]);
        assert!(apart <= 1e-6, "{name}: {apart:e}");
    }
}

#[test]
fn it_follows_the_parameters_by_the_formula_and_training_does_not_see_it() {
    let world = averaging(json!({}));
    world.train().done(4);
    let history = history();
    let expected = average(&history);
    assert_close(&read(&world, 4, "ema.safetensors"), &expected);
    let apart = |name: &String| (&history[4][name] - &expected[name]).abs().max().double_value(&[]);
    assert!(expected.keys().all(|name| apart(name) > 1e-3), "the average is not the newest");
    let undisturbed = plain();
    undisturbed.train().done(4);
    assert!(!undisturbed.checkpoint(4).contains_key("ema.safetensors"));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(world.checkpoint(4)[file], undisturbed.checkpoint(4)[file], "{file}");
    }
}

#[test]
fn a_checkpoint_without_one_is_where_it_begins() {
    let before = plain();
    stopped_at(&before, 2);
    let mut world = before.resume(2);
    world.run.job = averaging(json!({})).job.clone();
    world.data.num_eval = 40;
    world.train().done(4);
    assert_close(&read(&world, 4, "ema.safetensors"), &average(&history()[2..]));
}

#[test]
fn evaluation_is_of_the_average() {
    for precision in ["fp32", "bf16-params"] {
        evaluates_the_average(precision);
    }
}

fn evaluates_the_average(precision: &str) {
    let world = averaging(json!({"train": {"steps": 4, "ema": {"decay": DECAY}, "precision": precision}}));
    let found = world.train().done(4).eval();
    let folder = tempfile::tempdir().unwrap();
    let of = |file: &str, mut train: Value| {
        train["precision"] = json!(precision);
        let path = folder.path().join(file);
        std::fs::write(&path, &world.checkpoint(4)[file]).unwrap();
        // A step that moves nothing, after which there is an evaluation.
        let sgd = json!({"kind": "sgd", "lr": 1e-30});
        let mut world = averaging(json!({"train": train, "optimizer": sgd}));
        let weights = block_on(WeightsFrom::find(path.to_str().unwrap())).unwrap().unwrap();
        world.start_from = StartFrom::Weights(weights);
        world.train().done(1).eval()
    };
    assert_eq!(found, of("ema.safetensors", json!({"steps": 1})));
    assert_eq!(
        found,
        of("ema.safetensors", json!({"steps": 1, "ema": {"decay": DECAY}})),
        "it begins with them"
    );
    assert_ne!(found, of("model.safetensors", json!({"steps": 1})));
}

#[test]
fn the_file_is_a_whole_model_with_its_buffers() {
    let model = json!({"kind": "resnet", "hidden": null, "depth": 20});
    let world = averaging(json!({"model": model}));
    world.train().done(4);
    let (model, average) = (read(&world, 4, "model.safetensors"), read(&world, 4, "ema.safetensors"));
    assert!(model.keys().eq(average.keys()));
    let mut num_buffers = 0;
    for (name, tensor) in &model {
        let is_buffer = name.contains("running_");
        num_buffers += usize::from(is_buffer);
        assert_eq!(*tensor == average[name], is_buffer, "{name}");
    }
    assert!(num_buffers > 0);
}
