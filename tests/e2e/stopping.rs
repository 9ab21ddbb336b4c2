//! Orderly ends: Ctrl-C, SIGTERM, cancel, a limit; and a second launch of a run that lives.

use lockstep_e2e::{Launched, Workspace, repository};
use rustix::process::Signal;

fn endless() -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps=10000000 --set log.every=20steps --run-dir d",
        digits.display()
    )
}

fn start(ws: &Workspace) -> Launched {
    let mut run = ws.start(&endless());
    run.wait_for_text("step 100/");
    run
}

/// The run stopped at one step, which is returned; its state is committed, and the launch says how to carry on.
fn expect_stopped(ws: &Workspace, stderr: &str, cause: &str) -> u64 {
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!(
        (status["phase"].as_str(), status["why"].as_str()),
        (Some("stopped"), Some(cause)),
        "{status:#}"
    );
    assert_eq!(status["last_checkpoint"]["step"], status["step"], "{status:#}");
    assert!(stderr.contains("Carry on with: lockstep launch"), "{stderr}");
    ws.run("checkpoint verify d").expect_code(0);
    status["step"].as_u64().unwrap()
}

#[test]
fn ctrl_c_and_sigterm_checkpoint_first() {
    for (signal, code, cause) in [(Signal::INT, 130, "Ctrl-C"), (Signal::TERM, 143, "SIGTERM")] {
        let ws = Workspace::new();
        let run = start(&ws);
        let marker = run.marker.clone();
        run.signal(signal);
        let ended = run.finish().expect_code(code);
        assert!(expect_stopped(&ws, &ended.stderr, cause) >= 100);
        marker.expect_none_left();
        let carried_on = ws.run(&format!("{} --set train.steps=100", endless()));
        assert_eq!(carried_on.code, Some(0), "a run that is past its end is done: {}", carried_on.stderr);
    }
}

#[test]
fn cancel_now_waits_for_no_checkpoint_and_leaves_nobody() {
    let ws = Workspace::new();
    let run = start(&ws);
    let marker = run.marker.clone();
    let wide = ws.run("status d -o wide").expect_code(0).stdout;
    assert!(wide.contains("RUN DIR") && wide.contains(&*ws.path("d").to_string_lossy()), "{wide}");
    let killed = ws.run("cancel d --now -o yaml").expect_code(0).stdout;
    assert!(killed.contains("killed: true"), "{killed}");
    assert_eq!(run.finish().code, None, "a signal ended the launcher");
    marker.expect_none_left();
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!(status["phase"], "interrupted", "{status:#}");
    let saved = ws.run("checkpoint list d --output json").expect_code(0).json();
    assert!(saved.as_array().unwrap().iter().all(|c| c["step"].as_u64().unwrap() % 200 == 0), "{saved:#}");
    let nobody = ws.run("cancel d --now").expect_code(1);
    assert!(nobody.stderr.contains("no launcher of run d is alive"), "{}", nobody.stderr);
}

#[test]
fn cancel_stops_the_run_and_its_launcher() {
    let ws = Workspace::new();
    let run = start(&ws);
    let marker = run.marker.clone();
    ws.run("cancel d").expect_code(0);
    let ended = run.finish().expect_code(4);
    expect_stopped(&ws, &ended.stderr, "cancelled");
    marker.expect_none_left();
    assert!(ws.run("cancel d").expect_code(2).stderr.contains("is not running"));
}

#[test]
fn the_time_limit_ends_it_resumable() {
    let ws = Workspace::new();
    let ended = ws.run(&format!("{} --set limits.maxRunTime=6s", endless())).expect_code(4);
    expect_stopped(&ws, &ended.stderr, "limits.maxRunTime is reached");
}

#[test]
fn a_second_launch_attaches_or_is_refused() {
    let ws = Workspace::new();
    let run = start(&ws);
    let refused = ws.run(&format!("{} --set optimizer.lr=0.5", endless())).expect_code(2);
    assert!(
        refused.stderr.contains("optimizer.lr") && refused.stderr.contains("lockstep cancel"),
        "{}",
        refused.stderr
    );
    let mut attached = ws.start(&endless());
    attached.wait_for_text("is running already");
    attached.signal(Signal::INT);
    attached.finish().expect_code(130);
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["phase"], &status["generation"]), (&"running".into(), &1.into()), "{status:#}");
    run.signal(Signal::TERM);
    run.finish().expect_code(143);
}
