//! What a launch starts ends with it, and ends the way it ended.

use lockstep_e2e::{Workspace, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// Leaves what no signal to its group reaches: in sessions of their own, orphaned, deaf to all that can be refused.
const LEAVES_MANY: &str = r#"
setsid sleep 1000 &
(setsid sh -c 'trap "" TERM HUP INT; sleep 1000 & wait' &)
setsid sh -c '(setsid sh -c "(sleep 1000 &) ; exec sleep 1000" &)'
nohup sleep 1000 > /dev/null 2>&1 &
echo all are there
exec sleep 1000
"#;

fn tether(script: &str) -> Child {
    let mut command = Command::new(binary("lockstep-agent"));
    command.args(["tether", "--stay", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// How it ended, within a deadline.
fn end(mut child: Child) -> ExitStatus {
    let ended = wait_for("the tether's end", DEADLINE, || child.try_wait().unwrap());
    drop(child.stdin.take());
    ended
}

/// Reads what it printed up to now, which must be this.
fn hear(child: &mut Child, text: &str) {
    let mut heard = vec![0; text.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

#[test]
fn nothing_survives_a_launcher_that_is_killed() {
    let ws = Workspace::new();
    ws.write("many.sh", LEAVES_MANY);
    let job = ws.write("job.yaml", "name: many\nnodes: 2\ncommand: [sh, many.sh]\n");
    for _ in 0..2 {
        let mut run = ws.start(&format!("launch -f {} --local --run-dir d", job.display()));
        run.wait_for_text("[rank 0] all are there");
        run.wait_for_text("[rank 1] all are there");
        let marker = run.marker.clone();
        run.signal(Signal::KILL);
        run.finish();
        marker.expect_none_left();
    }
}

#[test]
fn nothing_survives_an_agent_that_is_killed() {
    let ws = Workspace::new();
    ws.write("many.sh", LEAVES_MANY);
    let job = ws.write("job.yaml", "name: many\ncommand: [sh, many.sh]\n");
    let mut run = ws.start(&format!("launch -f {} --local --run-dir d", job.display()));
    run.wait_for_text("[rank 0] all are there");
    let before = run.marker.find("sleep");
    run.signal_descendant(run.processes("lockstep-agent", 1)[0], Signal::KILL);
    run.wait_for_text("generation 2");
    let of_then = || before.iter().all(|pid| !run.marker.find("sleep").contains(pid)).then_some(());
    wait_for("what the first agent's worker started is gone", DEADLINE, of_then);
    run.signal(Signal::KILL);
    let marker = run.marker.clone();
    run.finish();
    marker.expect_none_left();
}

#[test]
fn a_tether_ends_as_its_command_does() {
    assert_eq!(end(tether("exit 0")).code(), Some(0));
    assert_eq!(end(tether("exit 143")).code(), Some(143));
    for (name, signal) in [("KILL", 9), ("TERM", 15), ("ABRT", 6), ("HUP", 1)] {
        assert_eq!(end(tether(&format!("kill -{name} $$"))).signal(), Some(signal), "{name}");
    }
    let mut command = Command::new(binary("lockstep-agent"));
    command.args(["tether", "--stay", "--", "/no/such/program"]);
    let mut missing = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut words = String::new();
    missing.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("/no/such/program"), "{words}");
    assert_eq!(end(missing).code(), Some(1));
}

#[test]
fn a_tether_passes_signals_on() {
    for (name, signal) in
        [("TERM", Signal::TERM), ("INT", Signal::INT), ("HUP", Signal::HUP), ("USR1", Signal::USR1)]
    {
        let mut child = tether(&format!("trap 'exit 7' {name}; echo ready; while :; do sleep 0.01; done"));
        hear(&mut child, "ready\n");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(end(child).code(), Some(7), "{name}");
    }
}

#[test]
fn a_tether_that_is_let_go_leaves_nobody_and_one_that_is_killed_takes_its_command_along() {
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & wait";
    let gone = |pid: i32| {
        wait_for("it is gone", DEADLINE, || {
            (!std::path::Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())
        })
    };
    let pid_of = |child: &mut Child| {
        let (mut text, mut byte) = (String::new(), [0]);
        while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            text.push(byte[0] as char);
        }
        text.parse::<i32>().unwrap()
    };
    let mut child = tether(script);
    let orphan = pid_of(&mut child);
    drop(child.stdin.take());
    assert_eq!(end(child).signal(), Some(9));
    gone(orphan);

    let mut child = tether("echo $$; exec sleep 1000");
    let command = pid_of(&mut child);
    child.kill().unwrap();
    end(child);
    gone(command);
}

#[test]
fn an_agent_that_somebody_asks_to_leave_comes_back() {
    let ws = Workspace::new();
    let digits = lockstep_e2e::repository().join("trainer/examples/digits.yaml");
    let words = format!(
        "launch -f {} --local --set train.steps=2000 --set model.hidden=[16] --set train.globalBatch=16 --set log.every=20steps --run-dir d",
        digits.display()
    );
    for node in [0, 1] {
        let mut run = ws.start(&format!("{words} --fresh"));
        run.wait_for_text("step 400/");
        run.signal_descendant(run.processes("lockstep-agent", 2)[node], Signal::TERM);
        run.wait_for_text("left with exit code 143; started again");
        let marker = run.marker.clone();
        run.finish().expect_code(0);
        marker.expect_none_left();
        let status = ws.run("status d --output json").expect_code(0).json();
        assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &2000.into()), "{status:#}");
    }
}

#[test]
fn a_run_whose_agents_are_all_asked_to_leave_stops() {
    let ws = Workspace::new();
    let job = ws.write("job.yaml", "name: both\nnodes: 2\ncommand: [sh, -c, 'echo here; exec sleep 1000']\n");
    let mut run = ws.start(&format!("launch -f {} --local --run-dir d", job.display()));
    run.wait_for_text("[rank 0] here");
    run.wait_for_text("[rank 1] here");
    for agent in run.processes("lockstep-agent", 2) {
        run.signal_descendant(agent, Signal::TERM);
    }
    let marker = run.marker.clone();
    run.finish().expect_code(4);
    marker.expect_none_left();
}
