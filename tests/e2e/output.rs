//! Who reads what a launch prints, or doesn't, changes nothing about the run.

use lockstep_e2e::{Marker, Workspace, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

/// Prints 8 MB, far more than fits into any pipe on the way, and then says that it is over.
const CHATTY: &str = "name: chatty\nnodes: 2\ncommand: [sh, -c, 'echo start $TORCHELASTIC_RESTART_COUNT; yes 0123456789012345678901234567890123456789 | head -c 8000000; echo the end']\n";
const SHORT: &str = "name: short\ncommand: [sh, -c, 'echo some words']\n";
const FAILS: &str = "name: fails\nrecovery: { sameCause: 1 }\ncommand: [sh, -c, 'echo no good; exit 7']\n";

/// A launch whose output is what this test makes of it.
struct Launch {
    child: Child,
    marker: Marker,
}

impl Launch {
    fn start(ws: &Workspace, job: &str, arrange: impl FnOnce(&mut Command)) -> Self {
        let (marker, job) = (Marker::new(), ws.write("job.yaml", job));
        let mut command = Command::new(binary("lockstep"));
        command.args(["launch", "--local", "--run-dir", "d", "-f"]).arg(job).current_dir(ws.path(""));
        command.env(marker.variable().0, marker.variable().1).env("LOCKSTEP_CACHE", ws.path("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        arrange(&mut command);
        Self { child: command.spawn().unwrap(), marker }
    }

    /// Waits for its end, after which nothing of it may be left.
    fn end(mut self) -> ExitStatus {
        let status = wait_for("the launch ends", DEADLINE, || self.child.try_wait().unwrap());
        self.marker.expect_none_left();
        status
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn phase(ws: &Workspace) -> Option<String> {
    let status = ws.run("status d --output json");
    let json: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
    Some(json["phase"].as_str()?.to_owned())
}

fn wait_until_done(ws: &Workspace) {
    wait_for("the run is done", DEADLINE, || (phase(ws)? == "done").then_some(()));
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // A terminal whose other end is closed gives an error in place of an end.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What must be in the output of a launch that nobody read while it ran: all that happened, and how much is left out.
fn expect_whole(stderr: &str) {
    for part in ["formed", "generation 1", "lines were not shown", "again"] {
        assert!(
            stderr.contains(part),
            "«{part}» is not in:\n{}",
            &stderr[stderr.len().saturating_sub(3000)..]
        );
    }
    for part in ["hangs", "lost", "generation 2", "panicked"] {
        assert!(!stderr.contains(part), "«{part}» is in:\n{}", &stderr[stderr.len().saturating_sub(3000)..]);
    }
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    let ws = Workspace::new();
    let (mut from, to) = std::io::pipe().unwrap();
    let launch = Launch::start(&ws, CHATTY, |command| {
        command.stderr(to);
    });
    wait_until_done(&ws);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    assert_eq!(launch.end().code(), Some(0));
    expect_whole(&reader.join().unwrap());
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["generation"], &status["restarts"]), (&1.into(), &0.into()), "{status:#}");
}

fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (File::from(ours), OwnedFd::from(theirs))
}

#[test]
fn a_terminal_that_stands_still_stops_nothing() {
    let ws = Workspace::new();
    let (ours, theirs) = terminal();
    let launch = Launch::start(&ws, CHATTY, |command| {
        command.stdout(theirs.as_fd().try_clone_to_owned().unwrap()).stderr(theirs);
    });
    wait_until_done(&ws);
    let reader = std::thread::spawn(move || text(ours));
    assert_eq!(launch.end().code(), Some(0));
    expect_whole(&reader.join().unwrap());
}

#[test]
fn a_launch_that_waits_for_its_reader_still_hears_signals() {
    let ws = Workspace::new();
    let (ours, theirs) = terminal();
    let launch = Launch::start(&ws, CHATTY, |command| {
        command.stdout(theirs.as_fd().try_clone_to_owned().unwrap()).stderr(theirs);
    });
    wait_until_done(&ws);
    // One for what is left of the lines, one for the summary, one for the hint.
    let (mut launch, mut sent) = (launch, 0);
    let status = wait_for("the launch ends", DEADLINE, || {
        launch.signal(Signal::INT);
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
        launch.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0), "the run was done already; {sent} signals");
    drop(ours);
}

#[test]
fn output_that_cannot_be_written_changes_no_exit_code() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    for (job, code) in [(SHORT, 0), (FAILS, 1)] {
        for bad in [&full as &dyn Fn() -> Stdio, &closed] {
            for (stdout, stderr) in [(true, false), (false, true), (true, true)] {
                let ws = Workspace::new();
                let launch = Launch::start(&ws, job, |command| {
                    command.stdout(if stdout { bad() } else { Stdio::null() });
                    command.stderr(if stderr { bad() } else { Stdio::null() });
                });
                assert_eq!(launch.end().code(), Some(code), "stdout {stdout}, stderr {stderr}");
            }
        }
    }
}

#[test]
fn a_terminal_that_is_closed_changes_no_exit_code() {
    let ws = Workspace::new();
    let (ours, theirs) = terminal();
    let launch = Launch::start(&ws, SHORT, |command| {
        command.stdout(theirs.as_fd().try_clone_to_owned().unwrap()).stderr(theirs);
    });
    drop(ours);
    assert_eq!(launch.end().code(), Some(0));
}

#[test]
fn no_command_panics_where_nobody_can_read() {
    let ws = Workspace::new();
    for words in
        [&["status"][..], &["launch", "-f", "nowhere.yaml"], &["schema"], &["logs", "nobody"], &["--help"]]
    {
        let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(binary("lockstep"));
        command.args(words).current_dir(ws.path("")).env("KUBECONFIG", ws.path("none")).stdin(Stdio::null());
        let mut child = command.stdout(full()).stderr(full()).spawn().unwrap();
        let status = wait_for("its end", DEADLINE, || child.try_wait().unwrap());
        assert!(matches!(status.code(), Some(0..=2)), "{words:?}: {status}");
    }
}

#[test]
fn a_hangup_that_is_ignored_from_the_start_stays_ignored() {
    let ws = Workspace::new();
    // The shell waits by itself: a child that comes and goes would be gone before its signal.
    let job = "name: overnight\ncommand: [sh, -c, 'echo here; read -r _ < gate']\n";
    assert!(Command::new("mkfifo").arg(ws.path("gate")).status().unwrap().success());
    let words = format!("launch -f {} --local --run-dir d", ws.write("job.yaml", job).display());
    let mut run = ws.start_in(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""], "lockstep", &words);
    run.wait_for_text("[rank 0] here");
    for process in run.marker.all() {
        run.signal_descendant(process, Signal::HUP);
    }
    // Open for both, so that neither side waits for the other.
    let mut gate = OpenOptions::new().read(true).write(true).open(ws.path("gate")).unwrap();
    gate.write_all(b"go\n").unwrap();
    let ended = run.finish().expect_code(0);
    assert!(!ended.stderr.contains("generation 2") && !ended.stderr.contains("stop"), "{}", ended.stderr);

    // One that isn't ignored stops the run, as before.
    let mut run = ws.start(&format!("{words} --fresh"));
    run.wait_for_text("[rank 0] here");
    run.signal(Signal::HUP);
    run.finish().expect_code(143);
}
