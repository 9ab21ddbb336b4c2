//! Runs that begin with published weights: with exactly those, or not at all.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::link::FailureKind;
use lockstep_run::{StartFrom, Step, WeightsFrom};
use lockstep_trainer::{Error, Stop};
use serde_json::{Value, json};
use std::path::Path;
use support::blobs::{LENGTH, VOCAB};
use support::{Outcome, World, block_on, job, twin};
use tch::Tensor;

/// A run of two ranks that is to begin with these weights, and that stops before its first step.
fn begun(model: &Value, from: &Path) -> World {
    let mut world = World::new(job(json!({"nodes": 2, "model": model})));
    let found = block_on(WeightsFrom::find(from.to_str().unwrap())).unwrap().unwrap();
    world.start_from = StartFrom::Weights(found);
    world
}

fn stopped_at_once(world: &World) -> Outcome {
    world.train_with(|_, control| {
        control.stop_at(Stop { step: Step(0), reason: "test".into(), ends_run: true })
    })
}

/// The parameters and buffers before the first step.
fn initial(world: &World) -> Vec<(String, Tensor)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &world.checkpoint(0)["model.safetensors"]).unwrap();
    Tensor::read_safetensors(file.path()).unwrap()
}

#[test]
fn torchvisions_and_transformers_files_are_what_a_run_begins_with() {
    if !twin::has("torchvision") || !twin::has("transformers") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    twin::run_python("published_weights.py", folder.path());
    let resnet = folder.path().join("resnet18.safetensors");
    let gpt2 = folder.path().join("gpt2");
    let shards: Vec<_> = std::fs::read_dir(&gpt2)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    assert!(shards.len() > 1, "{shards:?}");
    let gpt = json!({
        "kind": "gpt", "hidden": null, "layers": 2, "heads": 4, "width": 32, "context": LENGTH, "vocab": VOCAB,
    });
    for (model, uri, files) in [
        (json!({"kind": "resnet", "hidden": null, "depth": 18}), &resnet, vec![resnet.clone()]),
        (gpt, &gpt2, shards),
    ] {
        let world = begun(&model, uri);
        let outcome = stopped_at_once(&world);
        assert!(outcome.ranks.iter().all(Result::is_ok), "{:?}", outcome.ranks);
        let theirs: Vec<_> = files.iter().flat_map(|f| Tensor::read_safetensors(f).unwrap()).collect();
        let ours = initial(&world);
        for (name, ours) in &ours {
            let (_, theirs) = theirs.iter().find(|(other, _)| other == name).unwrap();
            // Ours may have padding behind them.
            assert_eq!(ours.narrow(0, 0, theirs.size()[0]), *theirs, "{name}");
        }
        let counts = theirs.iter().filter(|(name, _)| name.ends_with("num_batches_tracked")).count();
        assert_eq!(ours.len(), theirs.len() - counts);
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_in_one_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mlp = json!({"hidden": [16]});
    let source = World::new(job(json!({"nodes": 2, "model": mlp})));
    stopped_at_once(&source);
    let good = source.checkpoint(0)["model.safetensors"].clone();
    let failed = |world: &World| {
        let outcome = stopped_at_once(world);
        let [first, second] = outcome.errors()[..] else { panic!("two ranks") };
        assert!(first.kind().is_fatal(), "{first:?}");
        assert!(matches!(second, Error::PeerLost { .. }), "{second:?}");
        (first.kind(), first.to_string())
    };

    // Every name that is wrong, at once.
    let mut tensors = initial(&source);
    let names: Vec<_> = tensors.iter().map(|(name, _)| name.clone()).collect();
    tensors[0].0 = "other".to_owned();
    tensors[1].1 = tensors[1].1.narrow(0, 0, 3).contiguous();
    Tensor::write_safetensors(&tensors, &path).unwrap();
    let (kind, error) = failed(&begun(&mlp, &path));
    assert_eq!(kind, FailureKind::Spec);
    for part in [
        path.to_str().unwrap(),
        &format!("{} is missing", names[0]),
        &format!("{} is F32[3", names[1]),
        "other is not a parameter of this model",
        "give `model` the kind and the sizes",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }

    // A file that ends too early.
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    let (_, error) = failed(&begun(&mlp, &path));
    assert!(error.contains("w.safetensors: it does not parse"), "{error}");

    // Another one than that of the record, though it would fit as well.
    std::fs::write(&path, &good).unwrap();
    let world = begun(&mlp, &path);
    let mut other = good.to_vec();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &other).unwrap();
    let (_, error) = failed(&world);
    assert!(error.contains("is not the file with which this run began: its BLAKE3 is"), "{error}");
    std::fs::write(&path, &good).unwrap();
    assert!(stopped_at_once(&world).ranks.iter().all(Result::is_ok));
    assert_eq!(world.checkpoint(0)["model.safetensors"], good);
}
