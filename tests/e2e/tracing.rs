//! `lockstep trace`: what each rank does in some steps of a run that goes on.

use lockstep_e2e::{Launched, Workspace, repository};
use serde_json::Value;

fn start(ws: &Workspace, more: &str) -> Launched {
    let digits = repository().join("trainer/examples/digits.yaml");
    let mut run = ws.start(&format!(
        "launch -f {} --local --set train.steps=10000000 --set log.every=20steps --run-dir d {more}",
        digits.display()
    ));
    run.wait_for_text("first step");
    run
}

/// The slices of a rank, in order of time, longer ones first.
fn slices(file: &Value, rank: u64) -> Vec<&Value> {
    let events = file["traceEvents"].as_array().unwrap();
    events.iter().filter(|event| event["ph"] == "X" && event["tid"] == rank).collect()
}

/// Microseconds.
fn took(slice: &Value) -> f64 {
    slice["dur"].as_f64().unwrap()
}

fn ends(slice: &Value) -> f64 {
    slice["ts"].as_f64().unwrap() + took(slice)
}

#[test]
fn the_next_steps_of_all_ranks_are_in_one_file() {
    let ws = Workspace::new();
    let run = start(&ws, "--set train.microBatch=8");
    let traced = ws.run("trace d --steps 3 --to t.json --output json").expect_code(0).json();
    assert_eq!(traced["ranks"], serde_json::json!([0, 1]), "{traced:#}");
    let steps: Vec<_> = traced["steps"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap()).collect();
    assert_eq!(steps, [steps[0], steps[0] + 1, steps[0] + 2], "the same ones on both ranks");
    assert!(traced["request"] == 1 && steps[0] > 1, "{traced:#}");

    let file: Value = serde_json::from_slice(&std::fs::read(ws.path("t.json")).unwrap()).unwrap();
    for rank in [0, 1] {
        let slices = slices(&file, rank);
        assert!(slices.iter().all(|slice| slice["pid"] == rank), "a node has one rank here");
        let whole: Vec<_> = slices.iter().filter(|slice| slice["cat"] == "step").collect();
        let names: Vec<_> = whole.iter().map(|slice| slice["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, steps.iter().map(|step| format!("step {step}")).collect::<Vec<_>>());
        for pair in whole.windows(2) {
            let apart = pair[1]["ts"].as_f64().unwrap() - ends(pair[0]);
            assert!(apart.abs() < 1.0, "a step begins where the one before ended: {apart} µs");
        }
        for (step, whole) in steps.iter().zip(&whole) {
            expect_step(&slices, *step, whole);
        }
    }

    // The run never waited for it, and can be asked again; its own folder keeps the ranks' parts.
    let again = ws.run("trace d --steps 1").expect_code(0);
    assert!(
        again.stdout.contains("d-trace-2.json") && again.stdout.contains("of 2 ranks"),
        "{}",
        again.stdout
    );
    assert!(ws.path("d-trace-2.json").exists() && ws.path("d/traces/0000000002/000001.json").exists());
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["phase"], &status["restarts"]), (&"running".into(), &0.into()), "{status:#}");
    ws.run("cancel d").expect_code(0);
    let _ = run.finish();
    let over = ws.run("trace d").expect_code(2);
    assert!(over.stderr.contains("run d is not running: it has stopped (cancelled)"), "{}", over.stderr);
    assert!(!ws.path("d/requests/0000000003.json").exists(), "nobody is asked");
}

/// Parts in the order of a step, without gaps, as long as the step together.
fn expect_step(slices: &[&Value], step: u64, whole: &Value) {
    let parts: Vec<_> =
        slices.iter().filter(|slice| slice["cat"] == "part" && slice["args"]["step"] == step).collect();
    let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    let place = |name: &str| names.iter().position(|found| *found == name);
    let order = ["data", "forward", "backward", "optimizer"].map(place);
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{names:?}");
    let micro_batches: Vec<_> = parts
        .iter()
        .filter(|part| part["name"] == "forward")
        .map(|part| part["args"]["micro_batch"].as_u64().unwrap())
        .collect();
    assert_eq!(micro_batches, [0, 1, 2, 3], "a rank's half of a global batch of 64");
    let sum: f64 = parts.iter().map(|part| took(part)).sum();
    assert!((sum - took(whole)).abs() < 1.0, "{sum} of {whole}");
    for pair in parts.windows(2) {
        assert!((pair[1]["ts"].as_f64().unwrap() - ends(pair[0])).abs() < 1.0, "{pair:?}");
    }
}

#[test]
fn a_rank_that_does_not_answer_is_named() {
    let ws = Workspace::new();
    // No report comes, and so no step at which all could begin.
    let run = start(&ws, "--set log.every=10000000steps");
    let late = ws.run("trace d --wait 1").expect_code(1);
    for fact in ["2 ranks of run d sent no trace within 1 s", "missing   0,1", "--wait"] {
        assert!(late.stderr.contains(fact), "{}", late.stderr);
    }
    assert!(!ws.path("d-trace-1.json").exists());
    run.kill_everything();
    let gone = ws.run("trace d").expect_code(2);
    assert!(gone.stderr.contains("run d is not running, or its leader can't be reached"), "{}", gone.stderr);
    let none = ws.run("trace d --steps 101").expect_code(2);
    assert!(none.stderr.contains("101 is not in 1..=100"), "{}", none.stderr);
}

#[test]
fn a_command_has_no_steps_that_are_known() {
    let ws = Workspace::new();
    ws.write("job.yaml", "name: own\nnodes: 1\ncommand: [sleep, '1000']\n");
    let mut run = ws.start("launch -f job.yaml --local --run-dir d");
    run.wait_for_text("formed");
    let refused = ws.run("trace d").expect_code(2);
    assert!(refused.stderr.contains("runs a command of yours"), "{}", refused.stderr);
    run.kill_everything();
}
