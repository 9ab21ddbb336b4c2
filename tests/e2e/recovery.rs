//! Faults: whatever is killed or stopped, the run ends with the same bytes as an undisturbed one, and nothing is left.

use lockstep_e2e::{Launched, Workspace, repository, wait_for};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A model so small that a step is mostly what two ranks have to say to each other.
fn launch(steps: u32) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps={steps} --set model.hidden=[16] --set train.globalBatch=16 \
         --set checkpoint.every=200steps --set log.every=20steps --run-dir d",
        digits.display()
    )
}

/// The bytes of a run that nothing happens to; each is run once for all tests.
fn undisturbed(steps: u32) -> Vec<u8> {
    static KNOWN: Mutex<BTreeMap<u32, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        let ws = Workspace::new();
        ws.run(&launch(steps)).expect_code(0);
        ws.model("d")
    };
    known.entry(steps).or_insert_with(run).clone()
}

fn wait_for_step(run: &Launched, step: u64) {
    let newest = || {
        let text = run.stderr();
        text.lines()
            .rev()
            .find_map(|l| l.trim_start().strip_prefix("step ")?.split('/').next()?.parse::<u64>().ok())
    };
    wait_for(&format!("step {step}"), DEADLINE, || newest().filter(|s| *s >= step));
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn status(ws: &Workspace) -> serde_json::Value {
    ws.run("status d --output json").expect_code(0).json()
}

/// Runs to `steps`, does `strike` once at a third of the way, and compares the end with an undisturbed run's.
fn survives(steps: u32, strike: impl FnOnce(&Launched)) -> serde_json::Value {
    let ws = Workspace::new();
    let run = ws.start(&launch(steps));
    wait_for_step(&run, u64::from(steps) / 3);
    strike(&run);
    let marker = run.marker.clone();
    let told = run.finish().expect_code(0).stderr;
    assert_eq!(
        told.matches("; launched").count(),
        1,
        "a fault is given as the reason of what it made:\n{told}"
    );
    marker.expect_none_left();
    let status = status(&ws);
    assert_eq!(status["step"], steps, "{status:#}");
    assert!(ws.model("d") == undisturbed(steps), "the bytes differ from an undisturbed run's; {status:#}");
    status
}

#[test]
fn a_killed_worker() {
    for which in [0, 1] {
        let status = survives(2000, |run| {
            run.signal_descendant(run.processes("lockstep-worker", 2)[which], Signal::KILL);
        });
        assert_eq!(status["restarts"], 1, "{status:#}");
    }
}

/// Without a checkpoint to go back to: what is lost is in the memory of the survivor, whose process goes on.
#[test]
fn a_survivor_keeps_its_process_and_hands_its_state_on() {
    for killed in [0, 1] {
        let ws = Workspace::new();
        let run =
            ws.start(&format!("{} --set checkpoint.every=100000steps --set log.every=1steps", launch(2000)));
        wait_for_step(&run, 600);
        let workers = run.processes("lockstep-worker", 2);
        run.signal_descendant(workers[killed], Signal::KILL);
        let now = wait_for("the killed worker is replaced", DEADLINE, || {
            let now = run.marker.find("lockstep-worker");
            (now.len() == 2 && !now.contains(&workers[killed])).then_some(now)
        });
        assert!(now.contains(&workers[1 - killed]), "{workers:?} became {now:?}");
        let told = run.finish().expect_code(0).stderr;
        let held = format!("from the memory of rank {}", 1 - killed);
        assert!(told.contains("  resumed  step ") && told.contains(&held), "{told}");
        let metrics = ws.run("metrics d --output json").expect_code(0).json();
        let found: Vec<_> = (metrics.as_array().unwrap().iter())
            .map(|m| (m["step"].as_u64().unwrap(), m["generation"].as_u64().unwrap()))
            .collect();
        let second = found.iter().position(|(_, generation)| *generation == 2).unwrap();
        assert!(found[second].0 > 600, "it went back to step {}", found[second].0);
        let status = status(&ws);
        let known = (&status["restarts"], &status["survivors"], &status["repeated_steps"]);
        assert_eq!(known, (&1.into(), &1.into(), &0.into()), "{status:#}");
        assert!(ws.model("d") == undisturbed(2000), "the bytes differ from an undisturbed run's");
    }
}

/// As a drained node's pod is: its agent gets SIGTERM and leaves after a checkpoint; another one comes.
#[test]
fn a_node_that_is_asked_to_leave_takes_no_other_with_it() {
    for leaving in [0, 1] {
        let ws = Workspace::new();
        let run = ws.start(&launch(2000));
        wait_for_step(&run, 600);
        let agents = run.processes("lockstep-agent", 2);
        let mut workers = run.processes("lockstep-worker", 2);
        workers.sort_by_key(|worker| agents.iter().position(|agent| Some(*agent) == parent(*worker)));
        run.signal_descendant(agents[leaving], Signal::TERM);
        let now = wait_for("its worker is replaced", DEADLINE, || {
            let now = run.marker.find("lockstep-worker");
            (now.len() == 2 && !now.contains(&workers[leaving])).then_some(now)
        });
        assert!(now.contains(&workers[1 - leaving]), "{workers:?} became {now:?}");
        let told = run.finish().expect_code(0).stderr;
        assert!(told.contains("  resumed  step ") && told.contains("from the memory of rank "), "{told}");
        assert!(ws.model("d") == undisturbed(2000), "the bytes differ from an undisturbed run's");
    }
}

#[test]
fn a_worker_that_hangs() {
    let status = survives(2000, |run| {
        run.signal_descendant(run.processes("lockstep-worker", 2)[1], Signal::STOP);
    });
    assert_eq!(status["restarts"], 1, "{status:#}");
    // From its silence to the next generation, nobody trained.
    let forming = status["account"]["forming"].as_f64().unwrap();
    assert!(forming > 2.5, "{status:#}");
}

#[test]
fn a_killed_agent() {
    for which in [0, 1] {
        let status = survives(2000, |run| {
            run.signal_descendant(run.processes("lockstep-agent", 2)[which], Signal::KILL);
        });
        assert!(status["generation"].as_u64().unwrap() >= 2, "{status:#}");
    }
}

#[test]
fn an_agent_that_hangs() {
    survives(2000, |run| {
        run.signal_descendant(run.processes("lockstep-agent", 2)[0], Signal::STOP);
    });
}

#[test]
fn a_run_that_was_killed_whole_and_launched_again() {
    let ws = Workspace::new();
    let run = ws.start(&launch(2000));
    wait_for_step(&run, 1000);
    run.kill_everything();
    let interrupted = status(&ws);
    assert_eq!(interrupted["phase"], "interrupted", "{interrupted:#}");
    ws.run(&launch(2000)).expect_code(0);
    let status = status(&ws);
    let (repeated, account) = (status["repeated_steps"].as_u64().unwrap(), &status["account"]);
    assert!(repeated > 0 && account["repeating"].as_f64() > Some(0.0), "{status:#}");
    assert!(account["nobody_alive"].as_f64() > Some(0.0) && account["highest"] == 2000, "{status:#}");
    assert!(ws.model("d") == undisturbed(2000));
}

#[test]
fn a_killed_launcher_leaves_nothing_behind() {
    let ws = Workspace::new();
    let run = ws.start(&launch(1_000_000));
    wait_for_step(&run, 100);
    let marker = run.marker.clone();
    run.signal(Signal::KILL);
    marker.expect_none_left();
}

#[test]
fn eight_kills_in_one_run() {
    const STEPS: u32 = 4800;
    let ws = Workspace::new();
    let run = ws.start(&launch(STEPS));
    for kill in 1..=8u64 {
        wait_for_step(&run, 400 * kill);
        let workers = run.processes("lockstep-worker", 2);
        run.signal_descendant(workers[kill as usize % 2], Signal::KILL);
        // The next kill must hit a new worker.
        wait_for("the killed worker is replaced", DEADLINE, || {
            let now = run.marker.find("lockstep-worker");
            (now.len() == 2 && !now.contains(&workers[kill as usize % 2])).then_some(())
        });
    }
    run.finish().expect_code(0);
    let status = status(&ws);
    assert_eq!((&status["step"], &status["restarts"]), (&STEPS.into(), &8.into()), "{status:#}");
    assert!(ws.model("d") == undisturbed(STEPS));
}
