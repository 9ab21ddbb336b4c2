//! The loop on real ranks: equal results however the work is dealt, exact evaluation, policies, stops.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_c10d::Reads;
use lockstep_job::Mlp;
use lockstep_run::Step;
use lockstep_run::link::{FailureKind, Phase, WorkerMsg, WorkerOutcome};
use lockstep_trainer::{Batch, Control, Error, Items, Model, Outputs, Score, Setup, Stop, Task, TaskError};
use serde_json::json;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::{World, job, job_from};
use tch::{Kind, Tensor, nn};

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * a.abs().max(1.0), "step {}: {a} is not {b}", i + 1);
    }
}

fn losses(changes: serde_json::Value) -> Vec<f64> {
    World::new(job(changes)).train().done(30).losses()
}

/// Sums are added in another order, so the bits differ; over 30 steps the losses stay within 1e-5.
#[test]
fn ranks_and_micro_batches_do_not_change_what_is_learned() {
    let whole = losses(json!({"train": {"steps": 30}}));
    assert!(whole[29] < whole[0] / 2.0, "it learns: {whole:?}");
    for nodes in [2, 4] {
        close(&whole, &losses(json!({"nodes": nodes, "train": {"steps": 30}})), 1e-5);
    }
    close(&whole, &losses(json!({"train": {"steps": 30, "microBatch": 4}})), 1e-5);
    close(&whole, &losses(json!({"nodes": 2, "train": {"steps": 30, "microBatch": 2}})), 1e-5);
}

#[test]
fn clipping_with_accumulation_equals_clipping_the_whole_batch() {
    let train =
        |micro: u32| json!({"nodes": 2, "train": {"steps": 30, "clipGradNorm": 0.1, "microBatch": micro}});
    let free = losses(json!({"nodes": 2, "train": {"steps": 30}}));
    let clipped = losses(train(8));
    close(&clipped, &losses(train(2)), 1e-5);
    assert_ne!(free, clipped);
}

/// Samples of an epoch's last, unfilled step count once each, and padding counts for nothing.
#[test]
fn a_padded_tail_equals_the_same_samples_on_one_rank() {
    let tail = |nodes: u32| {
        let mut world = World::new(job(json!({
            "nodes": nodes, "data": {"tail": "pad"}, "train": {"steps": 30, "globalBatch": 16},
        })));
        world.data.num_train = 37;
        world.train().done(30).losses()
    };
    let one = tail(1);
    close(&one, &tail(2), 1e-5);
    close(&one, &tail(4), 1e-5);
}

/// 37 samples over 4 ranks in batches of 3: unequal shares, and each sample counts once.
#[test]
fn evaluation_is_exact_on_any_number_of_ranks() {
    let eval = |nodes: u32, num_eval: u64| {
        let mut world = World::new(job(json!({
            "nodes": nodes, "data": {"eval": {"uri": "memory"}}, "eval": {"every": "10 steps", "microBatch": 3},
            "train": {"steps": 10},
        })));
        world.data.num_eval = num_eval;
        world.train().done(10).eval()
    };
    let one = eval(1, 37);
    for nodes in [2, 4] {
        let many = eval(nodes, 37);
        assert_eq!(one["accuracy"], many["accuracy"]);
        close(&[one["loss"]], &[many["loss"]], 1e-5);
    }
    assert!((one["accuracy"] * 37.0).fract() < 1e-9, "a count of 37 samples: {}", one["accuracy"]);
    assert_eq!(eval(4, 2).len(), 2, "ranks without samples take part");
}

/// From its `from`-th training step on, the loss is so many times as large on rank 1.
struct Poison {
    from: u32,
    times: f64,
}

struct Poisoned {
    model: Box<dyn Model>,
    from: u32,
    times: f64,
    steps: Cell<u32>,
}

impl Task for Poison {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let mlp = Mlp { hidden: vec![16], ..Mlp::default() };
        let model = mlp.build(setup, root)?;
        Ok(Box::new(Poisoned { model, from: self.from, times: self.times, steps: Cell::new(0) }))
    }
}

impl Model for Poisoned {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        self.steps.set(self.steps.get() + 1);
        let loss = self.model.forward(batch)?;
        let is_poisoned = self.steps.get() >= self.from && std::thread::current().name() == Some("rank 1");
        Ok(if is_poisoned { loss * self.times } else { loss })
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        self.model.predict(batch)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        self.model.score(outputs, batch)
    }
}

fn poisoned(from: u32, non_finite: serde_json::Value) -> World {
    let train = json!({"steps": 12, "nonFinite": non_finite, "ema": {}});
    let mut world = World::new(job(json!({"nodes": 2, "train": train})));
    world.task = Arc::new(Poison { from, times: f64::NAN });
    world
}

fn stop_at(step: u64) -> impl Fn(u32, &Arc<Control>) {
    move |_, control| control.stop_at(Stop { step: Step(step), reason: "test".into(), ends_run: true })
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing_on_any_rank() {
    let skipping = poisoned(5, json!({"policy": "skip"}));
    let outcome = skipping.train().done(12);
    let losses = outcome.losses();
    assert!(losses[3].is_finite() && losses[4].is_nan() && losses[11].is_nan(), "{losses:?}");
    let warnings = outcome.messages[0].iter().filter(|m| matches!(m, WorkerMsg::Warning(_))).count();
    assert_eq!(warnings, 4, "after 1, 2, 4 and 8 steps in a row");
    let clean = poisoned(u32::MAX, json!({"policy": "skip"}));
    let outcome = clean.train_with(stop_at(4));
    assert!(
        outcome.ranks.iter().all(|r| matches!(r, Ok(WorkerOutcome::Stopped { step: Step(4) }))),
        "{:?}",
        outcome.ranks
    );
    for file in ["model.safetensors", "optimizer.safetensors", "ema.safetensors"] {
        assert_eq!(skipping.checkpoint(12)[file], clean.checkpoint(4)[file], "{file}");
    }
}

/// 16 bits of one kind have no number for it, which shows in the sum; those of the other kind have.
#[test]
fn a_gradient_that_the_exchange_makes_infinite_changes_nothing_on_any_rank() {
    let world = |from: u32, exchange: &str| {
        let train = json!({"steps": 8, "nonFinite": {"policy": "skip"}, "exchange": exchange});
        let mut world = World::new(job(json!({"nodes": 2, "train": train})));
        world.task = Arc::new(Poison { from, times: 1e9 });
        world
    };
    for (exchange, is_left_out) in [("fp16", true), ("bf16", false)] {
        let large = world(5, exchange);
        let outcome = large.train().done(8);
        assert!(outcome.losses().iter().all(|loss| loss.is_finite()), "{:?}", outcome.losses());
        let clean = world(u32::MAX, exchange);
        clean.train_with(stop_at(4));
        let file = "model.safetensors";
        let stays = large.checkpoint(8)[file] == clean.checkpoint(4)[file];
        assert_eq!(stays, is_left_out, "{exchange}");
    }
}

/// Until the scale of the loss has come down to 1, an overflow is none of the gradient's fault.
#[test]
fn in_fp16_the_scale_comes_down_before_a_step_counts_as_bad() {
    let world = |times: f64| {
        let train = json!({"steps": 30, "precision": "fp16", "nonFinite": {"policy": "stop", "after": 2}});
        let mut world = World::new(job(json!({"nodes": 2, "train": train})));
        world.task = Arc::new(Poison { from: 5, times });
        world
    };
    // 2^16 is halved 16 times; then two steps in a row are too many.
    for error in world(f64::NAN).train().errors() {
        assert!(matches!(error, Error::NonFinite { step: Step(22), in_a_row: 2, .. }), "{error}");
    }
    // Of a loss that is 64 times as large, the gradient is too large for 2^16, but not for a scale that is somewhat smaller.
    let outcome = world(64.0).train().done(30);
    let scales: Vec<_> = outcome.reports().iter().map(|report| report.loss_scale.unwrap()).collect();
    assert_eq!((scales[3], scales[29] < 65536.0, scales[29] > 1.0), (65536.0, true, true), "{scales:?}");
    assert!(outcome.messages.iter().flatten().all(|m| !matches!(m, WorkerMsg::Warning(_))));
}

#[test]
fn too_many_steps_in_a_row_that_are_not_finite_stop_all_ranks_and_name_the_culprit() {
    let outcome = poisoned(5, json!({"policy": "stop", "after": 3})).train();
    for error in outcome.errors() {
        assert!(matches!(error, Error::NonFinite { step: Step(7), in_a_row: 3, .. }), "{error}");
        assert!(error.to_string().contains("the loss is not finite on rank 1 (NaN)"), "{error}");
        assert_eq!(error.kind(), FailureKind::NonFinite);
    }
}

/// What happened is looked at one step later: the device has work meanwhile. All ranks end at the same step all the same.
#[test]
fn a_bad_step_that_nobody_reports_ends_the_run_one_step_later_and_is_named() {
    let world = |log: &str| {
        let non_finite = json!({"policy": "stop", "after": 2});
        let train = json!({"steps": 12, "nonFinite": non_finite});
        let mut world = World::new(job(json!({"nodes": 4, "train": train, "log": {"every": log}})));
        world.task = Arc::new(Poison { from: 5, times: f64::NAN });
        world
    };
    for (log, started) in [("100 steps", 7), ("6 steps", 6)] {
        let last = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&last);
        let outcome = world(log).train_with(|_, control| kept.lock().unwrap().push(Arc::clone(control)));
        for error in outcome.errors() {
            assert!(matches!(error, Error::NonFinite { step: Step(6), in_a_row: 2, .. }), "{error}");
            assert!(error.to_string().contains("not finite on rank 1 (NaN)"), "{error}");
        }
        // An ask to hold tells the last step that was started.
        let asked: Vec<_> = last.lock().unwrap().iter().map(|c| c.hold_at(1, Step(0))).collect();
        assert_eq!(asked, [Step(started); 4], "log {log}");
    }
}

#[test]
fn bad_steps_in_a_row_are_counted_across_a_checkpoint() {
    let stop = json!({"policy": "stop", "after": 4});
    let world = |from, resumed: Option<&World>| {
        let mut world = resumed.map_or_else(|| poisoned(from, stop.clone()), |before| before.resume(6));
        world.task = Arc::new(Poison { from, times: f64::NAN });
        world
    };
    let before = world(5, None);
    before.train_with(stop_at(6));
    let state: serde_json::Value = serde_json::from_slice(&before.checkpoint(6)["state.json"]).unwrap();
    assert_eq!(state["nonFiniteInARow"], 2);
    for error in world(1, Some(&before)).train().errors() {
        assert!(matches!(error, Error::NonFinite { step: Step(8), in_a_row: 4, .. }), "{error}");
    }
    // One good step, and they are counted anew.
    let healed = world(2, Some(&before)).train();
    assert!(healed.errors().iter().all(|e| matches!(e, Error::NonFinite { step: Step(11), .. })));
}

/// The mean of `x` fitted over some numbers of each sample, as many as its label says.
struct Ragged;

struct RaggedModel {
    mean: Tensor,
}

impl Task for Ragged {
    fn build(&self, _: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        Ok(Box::new(RaggedModel { mean: root.f_zeros("mean", &[support::blobs::NUM_INPUTS as i64])? }))
    }
}

impl RaggedModel {
    /// 1 where a number counts. Shape: as `x`.
    fn mask(batch: &Batch) -> Result<Tensor, TaskError> {
        let x = batch.column("x")?;
        let place = Tensor::f_arange(x.size()[1], (Kind::Int64, x.device()))?;
        Ok(place.f_lt_tensor(&batch.column("label")?.f_view([-1, 1])?)?.f_to_kind(Kind::Float)?)
    }
}

impl Model for RaggedModel {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        let outputs = self.predict(batch)?;
        Ok(self.score(&outputs, batch)?.loss)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        Ok(Outputs::new([("error", batch.column("x")?.f_to_kind(Kind::Float)?.f_sub(&self.mean)?)]))
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        let mask = Self::mask(batch)?;
        let loss = outputs.get("error")?.f_square()?.f_mul(&mask)?.f_sum(Kind::Float)?;
        Ok(Score { loss, metrics: vec![("counted", mask.f_sum(Kind::Double)?)] })
    }

    fn items(&self, batch: &Batch) -> Result<Items, TaskError> {
        Ok(Items::Counted(Self::mask(batch)?.f_sum(Kind::Int64)?.f_int64_value(&[])? as u64))
    }
}

/// Ranks have unequal numbers of items, and some have none; each item counts once.
#[test]
fn items_average_exactly_over_ragged_shares() {
    let run = |nodes: u32, micro: Option<u32>| {
        let mut world = World::new(job(json!({
            "nodes": nodes, "data": {"tail": "pad", "eval": {"uri": "memory"}},
            "train": {"steps": 12, "globalBatch": 8, "microBatch": micro}, "eval": {"every": "12 steps"},
        })));
        world.task = Arc::new(Ragged);
        (world.data.num_train, world.data.num_eval) = (21, 11);
        // Of each eight samples, the first ones have hardly any item.
        world.data.label = Arc::new(|sample| if sample % 8 < 4 { 0 } else { 7 + sample as i64 % 50 });
        let outcome = world.train().done(12);
        (outcome.losses(), outcome.eval())
    };
    let (losses, eval) = run(1, None);
    assert_eq!(eval["counted"], 1.0);
    for (nodes, micro) in [(1, Some(2)), (2, None), (4, None), (4, Some(1)), (2, Some(2))] {
        let (other, other_eval) = run(nodes, micro);
        close(&losses, &other, 1e-6);
        close(&[eval["loss"]], &[other_eval["loss"]], 1e-6);
    }
}

/// Ranks leave out unequal numbers of samples, and the loss is the mean over those that are left.
#[test]
fn samples_that_are_left_out_count_for_nothing_and_are_told_of() {
    let run = |nodes: u32| {
        let image = json!({"size": 8, "badSamples": "skip"});
        let mut world = World::new(job(json!({
            "nodes": nodes, "data": {"image": image}, "train": {"steps": 30, "globalBatch": 16},
        })));
        world.data.is_bad = |sample| sample % 7 == 0;
        world.train().done(30)
    };
    let (one, four) = (run(1), run(4));
    close(&one.losses(), &four.losses(), 1e-5);
    let warnings = |outcome: &support::Outcome| -> Vec<String> {
        let text = |m: &WorkerMsg| if let WorkerMsg::Warning(text) = m { Some(text.clone()) } else { None };
        outcome.messages.iter().flatten().filter_map(text).collect()
    };
    let told = warnings(&one);
    assert!(told[0].contains("can't be read; it is left out (1 so far on rank 0)"), "{told:?}");
    assert!(told.len() > 3 && told.len() < 8, "ever fewer: {told:?}");
    assert!(warnings(&four).iter().any(|text| text.contains("on rank 3")), "each rank tells of its own");
}

/// All samples are those that are left out and those that aren't, so the sums of their losses add up.
#[test]
fn the_loss_is_a_mean_over_the_samples_that_are_left() {
    let first_loss = |is_bad: fn(u64) -> bool| {
        let image = json!({"size": 8, "badSamples": "skip"});
        let train = json!({"steps": 1, "globalBatch": 160});
        let mut world = World::new(job(json!({"nodes": 2, "data": {"image": image}, "train": train})));
        world.data.is_bad = is_bad;
        world.train().done(1).losses()[0]
    };
    let (all, most, few) =
        (first_loss(|_| false), first_loss(|sample| sample % 7 == 0), first_loss(|sample| sample % 7 != 0));
    close(&[160.0 * all], &[137.0 * most + 23.0 * few], 1e-5);
}

/// A step that reports nothing makes this rank wait once: for the flag of the step before.
#[test]
fn a_step_reads_one_number_back_from_the_device() {
    let reads = |steps: u64| {
        let counted = Arc::new(AtomicU64::new(0));
        // Not AdamW: libtorch's kernel for CPUs looks at its step count once for each parameter, that for GPUs doesn't.
        let mut world = World::new(job_from(
            json!({
                "name": "test", "model": {"kind": "mlp"}, "data": {"train": {"uri": "memory"}},
                "train": {"steps": steps, "globalBatch": 16, "clipGradNorm": 1.0, "ema": {}},
                "optimizer": {"kind": "sgd", "lr": 1e-2, "momentum": 0.9}, "log": {"every": "1000 steps"},
            }),
            json!({}),
        ));
        world.task = Arc::new(Watched { counted: Arc::clone(&counted) });
        world.train().done(steps);
        counted.load(Ordering::Relaxed)
    };
    let (few, many) = (reads(10), reads(30));
    assert_eq!(many - few, 20, "{few} in 10 steps, {many} in 30");
}

/// An mlp that keeps how often its thread has read a number from a device, up to its last forward pass.
struct Watched {
    counted: Arc<AtomicU64>,
}

struct WatchedModel {
    model: Box<dyn Model>,
    reads: Reads,
    counted: Arc<AtomicU64>,
}

impl Task for Watched {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let (model, reads) =
            (Mlp { hidden: vec![16], ..Mlp::default() }.build(setup, root)?, Reads::count_from_here());
        let reads = reads.map_err(|e| TaskError::Other(e.into()))?;
        Ok(Box::new(WatchedModel { model, reads, counted: Arc::clone(&self.counted) }))
    }
}

impl Model for WatchedModel {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        let reads = self.reads.so_far().map_err(|e| TaskError::Other(e.into()))?;
        self.counted.store(reads, Ordering::Relaxed);
        self.model.forward(batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        self.model.predict(batch)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        self.model.score(outputs, batch)
    }
}

#[test]
fn a_label_out_of_range_names_the_sample() {
    let mut world = World::new(job(json!({"nodes": 2})));
    world.data.label = Arc::new(|sample| if sample == 77 { 10 } else { sample as i64 % 10 });
    let outcome = world.train();
    let (bad, lost): (Vec<_>, Vec<_>) =
        outcome.errors().into_iter().partition(|e| e.kind() == FailureKind::Data);
    assert_eq!((bad.len(), lost.len()), (1, 1));
    assert!(
        bad[0].to_string().contains("sample 77 has label 10, but the model has 10 classes (0 to 9)"),
        "{}",
        bad[0]
    );
    assert_eq!(lost[0].kind(), FailureKind::PeerLost, "{}", lost[0]);
}

#[test]
fn ranks_stop_after_the_agreed_step_with_a_checkpoint_and_go_on_from_it() {
    let world = World::new(job(json!({"nodes": 2})));
    world.train_with(stop_at(6));
    assert_eq!(world.committed(), [6]);
    world.resume(6).train().done(10);
    assert_eq!(world.committed(), [6, 10]);
}

/// Clocks differ between ranks, so rank 0's decides; a checkpoint each 1 ms means one after every report.
#[test]
fn checkpoints_by_the_clock_are_agreed() {
    let world = World::new(job(json!({
        "nodes": 4, "checkpoint": {"every": "1ms", "keepLast": 100}, "log": {"every": "2 steps"}, "train": {"steps": 20},
    })));
    let outcome = world.train().done(20);
    let committed = world.committed();
    assert!(committed.len() > 1 && committed.iter().all(|step| *step == 1 || step % 2 == 0), "{committed:?}");
    let told = |m: &WorkerMsg| matches!(m, WorkerMsg::CheckpointCommitted { .. });
    assert_eq!(outcome.messages[0].iter().filter(|m| told(m)).count(), committed.len());
    let beats = |m: &WorkerMsg| matches!(m, WorkerMsg::Heartbeat { .. });
    assert!(outcome.messages[1].iter().all(beats), "only rank 0 reports: {:?}", outcome.messages[1]);
}

/// Nothing ticks here, so every heartbeat is one that a change of phase has sent.
#[test]
fn the_first_step_is_told_when_it_is_done() {
    let world = World::new(job(json!({"nodes": 2})));
    let first = |m: &WorkerMsg| matches!(m, WorkerMsg::Heartbeat { step: Step(1), phase: Phase::Training });
    for messages in &world.train().done(10).messages {
        assert_eq!(messages.iter().filter(|m| first(m)).count(), 1, "{messages:?}");
    }
}

#[test]
fn only_the_newest_checkpoints_stay() {
    let world = World::new(job(json!({"checkpoint": {"every": "2 steps", "keepLast": 2}})));
    world.train().done(10);
    let committed = world.committed();
    assert_eq!((committed.len(), committed.last()), (2, Some(&10)), "{committed:?}");
}
