//! Processes that outlive their generation: they go on with what they hold, newcomers get it from them, and no checkpoint is read.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::Step;
use lockstep_run::link::{WorkerMsg, WorkerOutcome};
use lockstep_trainer::{
    Batch, Error, Found, Model, Orders, Outbox, Outputs, Score, Setup, Task, TaskError, Worker,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use support::blobs::{Blobs, EVALUATION, Seen};
use support::{Run, World, alone, job_from};
use tch::{Tensor, nn};

const STEPS: u64 = 12;
/// Loses no rank.
const NOBODY: (u32, u64) = (u32::MAX, 0);

/// What ranks have said, in all generations.
#[derive(Default)]
struct Told {
    evaluations: Vec<BTreeMap<String, f64>>,
    /// Which step each generation but the first went on from, and whose state that was.
    resumed: Vec<(u64, u32)>,
    /// How each rank left each generation: their numbers, counted from 0, and the outcome.
    ends: Vec<(usize, u32, Result<WorkerOutcome, Error>)>,
}

/// Trains through generations, each of which but the last ends when one rank is lost: `losses` says which, and in which of the
/// generation's steps. The lost rank comes back as a process that knows nothing. `data` is what there is to read in each generation.
fn trained_through(
    world: &World,
    losses: &[(u32, u64)],
    data: &(dyn Fn(usize) -> Blobs + Send + Sync),
) -> Told {
    let _alone = alone();
    tch::set_num_threads(1);
    let generations: Vec<_> = (0..=losses.len() as u64)
        .map(|earlier| {
            let run = Run { generation: world.generation + earlier, ..world.run.clone() };
            (run.starts(), Arc::new(lockstep_c10d::MemoryStore::new()))
        })
        .collect();
    let size = world.job.world_size();
    let between = Barrier::new(size as usize);
    let told = Mutex::new(Told::default());
    std::thread::scope(|scope| {
        for rank in 0..size {
            let (generations, between, told) = (&generations, &between, &told);
            let rank_of_world = move || {
                let new =
                    || Worker::new(world.task.as_ref(), &Value::Null, world.job.clone(), Found::default());
                let mut worker = new();
                for (number, (starts, store)) in generations.iter().enumerate() {
                    let (outbox, mut inbox) = Outbox::new();
                    let start = starts[rank as usize].clone();
                    let orders = Orders { start, control: Arc::default(), outbox, store: store.clone() };
                    let lost = losses.get(number).copied();
                    let data = Blobs { lost, ..data(number) }.rank(rank, &world.job);
                    let end = worker.serve(&data, orders);
                    let is_wrong = matches!(end, Err(Error::Diverged { is_right: false, .. }));
                    if is_wrong || lost.is_some_and(|(lost, _)| lost == rank) {
                        worker = new();
                    }
                    let mut told = told.lock().unwrap();
                    // Nothing is asserted here: others would wait at the barrier for who doesn't come.
                    told.ends.push((number, rank, end));
                    while let Ok(message) = inbox.try_recv() {
                        match message {
                            WorkerMsg::Report(report) if !report.eval.is_empty() => {
                                told.evaluations.push(report.eval)
                            }
                            WorkerMsg::Resumed { step, source } => told.resumed.push((step.0, source.0)),
                            _ => {}
                        }
                    }
                    drop(told);
                    between.wait();
                }
            };
            std::thread::Builder::new()
                .name(format!("rank {rank}"))
                .spawn_scoped(scope, rank_of_world)
                .unwrap();
        }
    });
    told.into_inner().unwrap()
}

/// Returns all evaluations that were reported meanwhile.
fn survives(job: Value, losses: &[(u32, u64)]) -> Vec<BTreeMap<String, f64>> {
    let base = json!({
        "name": "test", "data": {"train": {"uri": "memory"}}, "log": {"every": "1 steps"},
        "train": {"steps": STEPS, "globalBatch": 12, "clipGradNorm": 1.0},
        "optimizer": {"kind": "adamw", "lr": 1e-2}, "checkpoint": {"every": "100 steps"},
    });
    let spec = job_from(base, job.clone());
    let mut undisturbed = World::new(spec.clone());
    undisturbed.data.num_eval = 20;
    undisturbed.train().done(STEPS);
    let disturbed = World { data: undisturbed.data.clone(), ..World::new(spec) };
    let told = trained_through(&disturbed, losses, &|_| disturbed.data.clone());
    for (generation, rank, end) in told.ends {
        let lost = losses.get(generation).map(|(lost, _)| *lost);
        let is_right = match end {
            Ok(WorkerOutcome::Done { step: Step(STEPS) }) => lost.is_none(),
            Err(Error::Panic { .. }) => lost == Some(rank),
            Err(Error::PeerLost { .. }) => lost.is_some_and(|lost| lost != rank),
            _ => false,
        };
        assert!(is_right, "generation {generation}, rank {rank}: {end:?}");
    }
    let mut done = 0;
    let expected = losses.iter().map(|&(rank, batch)| {
        // Who is lost when it asks for a batch has done the steps before.
        done = if batch == EVALUATION { STEPS } else { done + batch - 1 };
        (done, u32::from(rank == 0))
    });
    assert_eq!(told.resumed, expected.collect::<Vec<_>>(), "{losses:?}");
    let last = World {
        run: Run { generation: 1 + losses.len() as u64, ..disturbed.run.clone() },
        task: disturbed.task.clone(),
        data: disturbed.data.clone(),
    };
    assert_eq!(disturbed.committed(), [STEPS], "nothing else was saved, so nothing was loaded");
    let (expected, found) = (undisturbed.checkpoint(STEPS), last.checkpoint(STEPS));
    for (file, bytes) in &expected {
        if file.ends_with(".safetensors") {
            assert!(found[file] == *bytes, "{job}: {file} after {losses:?}");
        }
    }
    told.evaluations
}

#[test]
fn survivors_go_on_with_what_they_hold_and_newcomers_get_it_from_them() {
    let mlp = json!({"nodes": 3, "model": {"kind": "mlp", "hidden": [16], "dropout": 0.0}, "train": {"ema": {"decay": 0.9}}});
    survives(mlp.clone(), &[(2, 5)]);
    survives(mlp.clone(), &[(0, 5)]);
    // Before the first step there is nothing but what the seed makes; and a rank may be lost again and again.
    survives(mlp, &[(1, 1), (0, 3), (0, 1), (2, 4)]);
}

/// The last step's, at that: whoever goes on has no step left to do.
#[test]
fn an_evaluation_that_was_interrupted_is_made_up_for() {
    let job = json!({
        "nodes": 2, "model": {"kind": "mlp", "hidden": [16]}, "data": {"eval": {"uri": "memory"}},
        "eval": {"every": "12 steps"},
    });
    let evaluations = survives(job, &[(1, EVALUATION)]);
    assert_eq!(evaluations.len(), 1, "{evaluations:?}");
    assert!(evaluations[0]["accuracy"] > 0.0);
}

/// Of data without hashes survivors know what they have read since the last checkpoint, and nobody else does.
#[test]
fn data_that_was_replaced_since_survivors_read_it_is_refused() {
    let base = json!({
        "name": "test", "nodes": 2, "data": {"train": {"uri": "memory"}},
        "model": {"kind": "mlp", "hidden": [16]}, "train": {"steps": STEPS, "globalBatch": 12},
        "optimizer": {"kind": "adamw", "lr": 1e-2}, "checkpoint": {"every": "100 steps"},
    });
    let world = World::new(job_from(base, json!({})));
    let data = |second: u128| {
        let (listing, usual) = (Some("listed".to_owned()), world.data.clone());
        move |generation: usize| {
            let shard = if generation == 0 { 1 } else { second };
            let seen = Seen { listing: listing.clone(), contents: vec![Some(shard), None] };
            Blobs { seen: Arc::new(move |_| seen.clone()), ..usual.clone() }
        }
    };
    let last = |second: u128| {
        let told = trained_through(&world, &[(0, 5)], &data(second));
        told.ends
            .into_iter()
            .filter(|(generation, ..)| *generation == 1)
            .map(|(_, _, end)| end)
            .collect::<Vec<_>>()
    };
    let refused = last(2);
    let is_replaced =
        |end: &Result<_, Error>| matches!(end, Err(Error::Data(lockstep_datasets::Error::Replaced { .. })));
    assert!(refused.iter().any(is_replaced) && refused.iter().all(Result::is_err), "{refused:?}");
    let same = last(1);
    assert!(same.iter().all(Result::is_ok), "{same:?}");
}

/// A rank whose memory is not what it wrote.
struct Faulty {
    task: Arc<dyn Task>,
    rank: u32,
    /// The forward pass before which a parameter of its changes, counted from 0 over all generations.
    pass: u64,
    passes: Arc<AtomicU64>,
}

struct FaultyModel {
    model: Box<dyn Model>,
    parameter: Tensor,
    /// Of the faulty rank: its passes, and the one before which it happens.
    fault: Option<(Arc<AtomicU64>, u64)>,
}

impl Task for Faulty {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let model = self.task.build(setup, root)?;
        let parameter = (root / "layers" / 0).get("weight").unwrap();
        let is_faulty = std::thread::current().name() == Some(&format!("rank {}", self.rank));
        let fault = is_faulty.then(|| (Arc::clone(&self.passes), self.pass));
        Ok(Box::new(FaultyModel { model, parameter, fault }))
    }
}

impl Model for FaultyModel {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        if let Some((passes, pass)) = &self.fault
            && passes.fetch_add(1, Ordering::Relaxed) == *pass
        {
            let _ = tch::no_grad(|| self.parameter.view([-1]).narrow(0, 3, 1).fill_(0.125));
        }
        self.model.forward(batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        self.model.predict(batch)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        self.model.score(outputs, batch)
    }
}

/// The lowest rank would hand on what it holds, and those that hold better would take it.
#[test]
fn a_survivor_that_holds_what_no_other_does_hands_nothing_on() {
    let base = json!({
        "name": "test", "nodes": 4, "data": {"train": {"uri": "memory"}},
        "model": {"kind": "mlp", "hidden": [16]}, "train": {"steps": STEPS, "globalBatch": 12},
        "optimizer": {"kind": "adamw", "lr": 1e-2}, "checkpoint": {"every": "100 steps"}, "log": {"every": "100 steps"},
    });
    let mut world = World::new(job_from(base, json!({})));
    world.task = Arc::new(Faulty { task: world.task.clone(), rank: 0, pass: 4, passes: Arc::default() });
    let told = trained_through(&world, &[(3, 6), NOBODY], &|_| world.data.clone());
    for (generation, rank, end) in told.ends {
        match (generation, end) {
            (0, Err(Error::Panic { .. } | Error::PeerLost { .. })) | (2, Ok(WorkerOutcome::Done { .. })) => {}
            (1, Err(Error::Diverged { is_right, reason, .. })) => {
                assert_eq!(is_right, rank != 0, "rank {rank}");
                assert!(reason.contains("rank 0 differs"), "{reason}");
            }
            (generation, end) => panic!("generation {generation}, rank {rank}: {end:?}"),
        }
    }
    assert_eq!(told.resumed, [(5, 1)]);
}

/// Two that hold the same are right; of two that don't nobody is, and the run goes back to what all agreed on.
#[test]
fn who_holds_what_nobody_else_does_is_found_at_the_end_of_the_interval() {
    for (nodes, resumed) in [(3, &[(6, 0)][..]), (2, &[])] {
        let base = json!({
            "name": "test", "nodes": nodes, "data": {"train": {"uri": "memory"}},
            "model": {"kind": "mlp", "hidden": [16]}, "train": {"steps": STEPS, "globalBatch": 12},
            "optimizer": {"kind": "adamw", "lr": 1e-2}, "checkpoint": {"every": "100 steps"}, "log": {"every": "2 steps"},
        });
        let mut world = World::new(job_from(base, json!({})));
        world.task = Arc::new(Faulty { task: world.task.clone(), rank: 1, pass: 4, passes: Arc::default() });
        let told = trained_through(&world, &[NOBODY], &|_| world.data.clone());
        assert_eq!(told.resumed, resumed);
        for (generation, rank, end) in told.ends {
            match (generation, end) {
                (0, Err(Error::Diverged { step, is_right, .. })) => {
                    assert_eq!((step, is_right), (Step(6), nodes == 3 && rank != 1));
                }
                (1, Ok(WorkerOutcome::Done { .. })) => {}
                (generation, end) => panic!("generation {generation}, rank {rank}: {end:?}"),
            }
        }
    }
}

#[test]
fn everything_that_a_step_changes_is_handed_on() {
    let gpt = |precision: &str| {
        json!({
            "nodes": 2, "train": {"precision": precision},
            "model": {"kind": "gpt", "layers": 1, "heads": 2, "width": 16, "context": 16, "vocab": 60},
        })
    };
    survives(gpt("fp16"), &[(0, 4)]);
    survives(gpt("bf16-params"), &[(1, 4)]);
    let resnet = json!({"nodes": 2, "model": {"kind": "resnet", "depth": 20, "batchNorm": "synced"}});
    survives(resnet, &[(0, 4), (1, 3)]);
}
