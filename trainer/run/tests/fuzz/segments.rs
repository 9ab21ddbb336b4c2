//! Segments of metrics, events and logs, and the merging of them.

use crate::lines::event;
use crate::samples::at;
use crate::support::{Waiter, corpus, current};
use lockstep_fuzzing::fuzz_text;
use lockstep_run::segment::{EVENTS, METRICS, Metric, Owner, Series, merge_metrics};
use lockstep_run::{Generation, Incarnation, NodeId, Rank, Report, SlowestRank, Step, StepSeconds};
use serde::Serialize;

/// Lines as a writer writes them.
fn written<T: Serialize>(lines: &[T]) -> Vec<u8> {
    let lines = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n");
    lines.collect::<String>().into_bytes()
}

fn metric(step: u64, loss: Option<f64>) -> Metric {
    let report = Report {
        step: Step(step),
        total_steps: Step(30),
        epoch: 0.30000000000000004,
        loss,
        lr: Some(1e-3),
        grad_norm: loss,
        loss_scale: None,
        samples_per_second: Some(123.456),
        tokens_per_second: None,
        mfu: Some(0.25),
        step_seconds: Some(StepSeconds { data: 0.1, other: 1e-9, ..StepSeconds::default() }),
        slowest_rank: Some(SlowestRank { rank: Rank(0), work_seconds: 0.1 }),
        eval: [("accuracy".to_owned(), 0.1)].into(),
    };
    Metric { report, generation: Generation(1), at: at(), gpu_seconds: loss }
}

fn owner() -> Owner {
    Owner { since: Generation(1), node: NodeId(0), incarnation: Incarnation(1) }
}

/// Compared by what is written: there may be numbers that equal nothing.
fn same<T: Serialize>(one: &[T], other: &[T]) {
    assert_eq!(String::from_utf8(written(one)), String::from_utf8(written(other)));
}

#[test]
fn metrics() {
    let waiter = Waiter::new();
    let path = Series::of(METRICS, owner()).segment(0);
    let metrics = [metric(1, Some(0.1)), metric(2, None), metric(2, Some(f64::NAN)), metric(3, Some(2.0))];
    current("metrics", &[("current", written(&metrics))]);
    fuzz_text("metrics", &corpus("metrics", &["metrics"]), |data| {
        let read = waiter.wait(waiter.dir_with(&path, data).metrics()).unwrap();
        assert!(read.len() <= data.split(|b| *b == b'\n').count());
        assert!(read.is_sorted_by(|a, b| a.report.step < b.report.step));
        let again = waiter.dir_with(&path, &written(&read));
        same(&waiter.wait(again.metrics()).unwrap(), &read);
        same(&waiter.wait(again.last_metrics(Generation(0))).unwrap(), &read);
        same(&merge_metrics(read.iter().chain(&read).cloned()), &read);
    });
}

#[test]
fn events() {
    let waiter = Waiter::new();
    let path = Series::of(EVENTS, owner()).segment(0);
    current("events", &[("current", written(&[event(), event()]))]);
    fuzz_text("events", &corpus("events", &["events"]), |data| {
        let read = waiter.wait(waiter.dir_with(&path, data).events()).unwrap();
        assert!(read.is_sorted_by_key(|event| event.at));
        same(&waiter.wait(waiter.dir_with(&path, &written(&read)).events()).unwrap(), &read);
    });
}
