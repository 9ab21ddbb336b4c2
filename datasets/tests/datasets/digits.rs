//! The committed digits are whole, and a loader brings each of them.

use std::collections::BTreeSet;

use lockstep_datasets::{
    CacheOptions, Dataset, Loader, LoaderOptions, Order, OrderOptions, Replica, Shuffle, Tail, Values,
    inspect, verify,
};

// Cargo starts a test in its package.
const DIGITS: &str = "digits";

fn options(cache: &tempfile::TempDir) -> LoaderOptions {
    LoaderOptions::new(CacheOptions { dir: cache.path().to_owned(), max_bytes: None })
}

#[test]
fn every_byte_is_verified() {
    let found = verify(DIGITS, None).unwrap();
    assert!(found.is_good(), "{:?}", found.problems);
    assert_eq!(found.good_samples, 1797);
    let digests: Vec<_> =
        found.splits.iter().map(|split| (split.split.as_str(), split.digest.as_str())).collect();
    // What was published under this name never changes.
    assert_eq!(
        digests,
        [
            ("test", "sha256:51a599f5cd73890a04aad434fb206ded8f202d07ddc0836211cd502c6a43b48d"),
            ("train", "sha256:c0bd5801017b33a484d343546174d61135f9b34230b5b4e56e12e57f838288a5"),
        ]
    );
}

#[test]
fn the_index_tells_what_is_inside() {
    let found = inspect(DIGITS).unwrap();
    for split in &found.splits {
        assert_eq!(split.columns["x"], "ndarray:uint8:64");
        assert_eq!(split.columns["label"], "int");
        assert_eq!((split.ranges["x"].min, split.ranges["x"].max), (0.0, 16.0));
        assert!(split.source.as_deref().unwrap().contains("UCI"));
    }
    let stored: u64 = found.splits.iter().map(|split| split.stored_bytes).sum();
    assert!(stored < 60_000, "{stored}");
}

#[test]
fn an_epoch_of_training_brings_each_sample_once_whatever_the_world_size() {
    let dataset = Dataset::open(DIGITS, "train").unwrap();
    let shuffle = Some(Shuffle { lanes: 8, block: 256 });
    let order = OrderOptions { seed: 3, global_batch: 48, shuffle, tail: Tail::Pad };
    let order = Order::new(order, &dataset.shard_samples()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut steps: Vec<Vec<BTreeSet<u64>>> = Vec::new();
    for world_size in [1, 2, 4] {
        let mut by_step = vec![BTreeSet::new(); order.steps_per_epoch() as usize];
        for rank in 0..world_size {
            let replica = Replica::new(rank, world_size).unwrap();
            let mut loader = Loader::train(dataset.clone(), order.clone(), replica, options(&cache)).unwrap();
            for (step, samples) in by_step.iter_mut().enumerate() {
                let batch = loader.batch(step as u64).unwrap();
                assert_eq!(batch.len(), 48 / world_size as usize);
                let x = batch.column("x").unwrap();
                assert_eq!(x.shape.as_deref(), Some(&[64][..]));
                assert!(x.to_f32().unwrap().iter().all(|pixel| (0.0..=16.0).contains(pixel)));
                let labels = batch.column("label").unwrap().to_i64().unwrap();
                assert!(labels.iter().all(|label| (0..10).contains(label)));
                for sample in batch.samples.into_iter().flatten() {
                    assert!(samples.insert(sample), "sample {sample} twice");
                }
            }
        }
        assert_eq!(by_step.iter().map(BTreeSet::len).sum::<usize>(), 1438);
        steps.push(by_step);
    }
    assert!(steps.windows(2).all(|pair| pair[0] == pair[1]), "a step's samples depend on the world size");
}

#[test]
fn evaluation_brings_each_sample_once() {
    let dataset = Dataset::open(DIGITS, "test").unwrap();
    let cache = tempfile::tempdir().unwrap();
    for world_size in [1, 2, 3, 7] {
        let mut seen = Vec::new();
        for rank in 0..world_size {
            let replica = Replica::new(rank, world_size).unwrap();
            let mut loader = Loader::eval(dataset.clone(), 50, replica, options(&cache)).unwrap();
            for step in 0..loader.num_batches().unwrap() {
                let batch = loader.batch(step).unwrap();
                assert!(!batch.is_empty() && batch.len() <= 50);
                seen.extend(batch.samples.into_iter().flatten());
            }
        }
        assert_eq!(seen, (0..359).collect::<Vec<_>>(), "{world_size} ranks");
    }
}

#[test]
fn a_loader_resumes_anywhere_with_the_same_batches() {
    let dataset = Dataset::open(DIGITS, "train").unwrap();
    let order =
        OrderOptions { seed: 3, global_batch: 32, shuffle: Some(Shuffle::default()), tail: Tail::Drop };
    let order = Order::new(order, &dataset.shard_samples()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let loader = || {
        Loader::train(dataset.clone(), order.clone(), Replica::new(1, 2).unwrap(), options(&cache)).unwrap()
    };
    let mut through = loader();
    let batches: Vec<_> = (0..100).map(|step| through.batch(step).unwrap()).collect();
    let mut resumed = loader();
    for step in [70, 71, 44, 45, 99, 0] {
        assert_eq!(resumed.batch(step).unwrap(), batches[step as usize]);
    }
    assert!(matches!(batches[0].column("x").unwrap().values, Values::U8(_)));
}
