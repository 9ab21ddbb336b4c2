//! What a run's time goes to, on real ranks. Machines that run tests are busy, so of many intervals one tells.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::Mlp;
use lockstep_run::{Part, Rank, Report, StepSeconds};
use lockstep_trainer::{Batch, Model, Outputs, Score, Setup, Task, TaskError};
use serde_json::json;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use support::blobs::{LENGTH, VOCAB};
use support::{Outcome, World, job};
use tch::{Tensor, nn};

const DELAY: Duration = Duration::from_millis(50);

/// An mlp that takes its time, on some thread.
#[derive(Clone, Copy, Default)]
struct Slow {
    forward: Option<&'static str>,
    predict: Option<&'static str>,
}

struct SlowModel {
    model: Box<dyn Model>,
    slow: Slow,
}

fn wait_on(rank: Option<&str>) {
    if rank.is_some() && thread::current().name() == rank {
        thread::sleep(DELAY);
    }
}

impl Task for Slow {
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError> {
        let mlp = Mlp { hidden: vec![16], ..Mlp::default() };
        Ok(Box::new(SlowModel { model: mlp.build(setup, root)?, slow: *self }))
    }
}

impl Model for SlowModel {
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError> {
        wait_on(self.slow.forward);
        self.model.forward(batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError> {
        wait_on(self.slow.predict);
        self.model.predict(batch)
    }

    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError> {
        self.model.score(outputs, batch)
    }
}

/// Reports of intervals; evaluations have none.
fn intervals(outcome: &Outcome) -> Vec<(&Report, StepSeconds)> {
    let reports = outcome.reports().into_iter();
    reports.filter_map(|report| Some((report, report.step_seconds?))).collect()
}

#[test]
fn a_slow_source_is_a_wait_for_data() {
    let mut world = World::new(job(json!({"nodes": 2})));
    world.data.delay = |_| DELAY;
    let outcome = world.train().done(10);
    let intervals = intervals(&outcome);
    assert_eq!(intervals.len(), 10);
    assert!(intervals.iter().all(|(_, seconds)| seconds.data >= DELAY.as_secs_f64()), "{intervals:?}");
    let is_told = |(_, seconds): &(&Report, StepSeconds)| {
        seconds.largest().is_some_and(|(part, share)| part == Part::Data && share > 0.5)
    };
    assert!(intervals.iter().any(is_told), "{intervals:?}");
}

#[test]
fn the_others_wait_for_a_rank_that_is_slow_in_forward() {
    let mut world = World::new(job(json!({"nodes": 2})));
    world.task = Arc::new(Slow { forward: Some("rank 1"), ..Slow::default() });
    let outcome = world.train().done(10);
    let intervals = intervals(&outcome);
    // Means over the two ranks: one works, the other waits.
    let half = DELAY.as_secs_f64() / 2.0;
    assert!(intervals.iter().all(|(_, seconds)| seconds.forward >= half), "{intervals:?}");
    let is_told = |(report, seconds): &(&Report, StepSeconds)| {
        let slowest = report.slowest_rank.unwrap();
        let is_slow = slowest.rank == Rank(1) && slowest.work_seconds >= DELAY.as_secs_f64();
        is_slow && seconds.communication > half / 2.0 && seconds.backward < half
    };
    assert!(intervals.iter().any(is_told), "{intervals:?}");
}

#[test]
fn parts_are_the_whole_time_of_training_and_evaluation_is_none_of_it() {
    let data = json!({"train": {"uri": "memory"}, "eval": {"uri": "memory"}});
    let mut world = World::new(job(json!({"data": data, "eval": {"every": "1 steps"}})));
    world.data.num_eval = 8;
    world.task = Arc::new(Slow { predict: Some("rank 0"), ..Slow::default() });
    let outcome = world.train().done(10);
    let intervals = intervals(&outcome);
    for (report, seconds) in &intervals {
        let whole = 16.0 / report.samples_per_second.unwrap();
        assert!((seconds.total() - whole).abs() < 1e-6 * whole, "{report:?}");
        assert_eq!(report.slowest_rank, None, "there is only one");
    }
    let after_an_evaluation = &intervals[1..];
    assert!(after_an_evaluation.iter().any(|(_, seconds)| seconds.total() < DELAY.as_secs_f64()));
}

#[test]
fn a_model_of_tokens_tells_its_speed_in_tokens() {
    let gpt = json!({"kind": "gpt", "layers": 1, "heads": 2, "width": 16, "context": LENGTH, "vocab": VOCAB, "hidden": null});
    let outcome = World::new(job(json!({"nodes": 2, "model": gpt}))).train().done(10);
    for (report, _) in intervals(&outcome) {
        let (samples, tokens) = (report.samples_per_second.unwrap(), report.tokens_per_second.unwrap());
        assert!((tokens / samples - LENGTH as f64).abs() < 1e-9, "{report:?}");
    }
    let outcome = World::new(job(json!({}))).train().done(10);
    assert!(intervals(&outcome).iter().all(|(report, _)| report.tokens_per_second.is_none()));
}
