//! `lockstep chaos`: faults on purpose, and what came of them.

use lockstep_e2e::{Workspace, repository, wait_for};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// Long enough for a leader that looks for requests every 5 s.
fn launch(run_dir: &str) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps=60000 --set model.hidden=[16] --set train.globalBatch=16 \
         --set checkpoint.every=100000steps --set eval.every=30000steps --set log.every=100steps --run-dir {run_dir}",
        digits.display()
    )
}

#[test]
fn a_verdict_tells_what_a_fault_cost_and_that_the_bytes_are_the_same() {
    let ws = Workspace::new();
    ws.run(&launch("calm")).expect_code(0);
    let run = ws.start(&launch("struck"));
    wait_for("it trains", DEADLINE, || run.stderr().contains("  step ").then_some(()));
    let verdict = ws
        .run("chaos struck --kill worker:1 --every 30s --for 1s --seed 7 --against calm --output json")
        .expect_code(0)
        .json();
    let told = run.finish().expect_code(0).stderr;
    assert!(told.contains("  struck  kill worker:1") && told.contains("  recovered  step "), "{told}");
    let fault = &verdict["faults"][0];
    assert_eq!((&fault["fault"], &fault["generation"]), (&"kill worker:1".into(), &1.into()), "{verdict:#}");
    let (noticed, next_step) =
        (fault["noticed_seconds"].as_f64().unwrap(), fault["next_step_seconds"].as_f64().unwrap());
    assert!(noticed <= next_step && next_step > 0.0, "{verdict:#}");
    assert_eq!(verdict["next_step_seconds"]["p99"], next_step, "{verdict:#}");
    assert_eq!(
        (&verdict["equal_bytes"], &verdict["repeated_steps"]),
        (&true.into(), &0.into()),
        "{verdict:#}"
    );
    let goodput = verdict["goodput"].as_f64().unwrap();
    assert!(goodput > 0.0 && goodput < 1.0, "{verdict:#}");
}

#[test]
fn what_can_t_be_struck_is_refused_before_anything_happens() {
    let ws = Workspace::new();
    let run = ws.start(&launch("d"));
    wait_for("it trains", DEADLINE, || run.stderr().contains("  step ").then_some(()));
    for (words, reason) in [
        ("--kill worker:2", "there is no rank 2: the run has 2, counted from 0"),
        ("--kill agent:9", "there is no node 9: the run has 2, counted from 0"),
        ("--stop agent:0", "an agent can be killed, but not stopped"),
        ("--against nowhere", "there is no run in"),
        ("--wait 1s", "--wait 1s is too short"),
        ("--kill node:0", "neither worker, worker:RANK, agent nor agent:NODE"),
    ] {
        let refused = ws.run(&format!("chaos d {words}")).expect_code(2);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
    ws.run("cancel d").expect_code(0);
    run.finish();
    let refused = ws.run("chaos d").expect_code(2);
    assert!(refused.stderr.contains("run d is not running"), "{}", refused.stderr);
}
