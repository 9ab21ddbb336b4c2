use crate::workers::children;
use anyhow::Context;
use lockstep_run::process::ignores;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, kill_process, set_child_subreaper,
    setrlimit, waitpid,
};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Descendants that were all killed this long ago and are still there wait for a device: they go when it answers.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// How often it is looked whether killed descendants are gone.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Signals that are passed on to the command, unless this process was started to ignore them.
const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Runs the command as a child that dies with this process, until it ends, or until standard input, a pipe, does: then it is
/// killed, since whoever holds the other end is gone or wants it. Afterwards every descendant is killed, and this process
/// ends the way the command did.
pub(super) fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let status = watch(command).await;
        end_descendants().await;
        status
    })?;
    Ok(end_as(status))
}

async fn watch(command: &[OsString]) -> anyhow::Result<ExitStatus> {
    set_child_subreaper(Some(getpid())).context("can't become the parent of orphans")?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let mut starter = Receiver::from_owned_fd(stdin).context("standard input is not a pipe")?;
    let mut signals = signals()?;
    // The child dies with this process, and this thread starts it and lives as long as the process does.
    let mut child = Command::new("/proc/self/exe")
        .args(["tether", "--parent"])
        .arg(std::process::id().to_string())
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .spawn()
        .context("can't run this program again")?;
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the command is gone already")?;
    let mut held = true;
    loop {
        // Its number is its own while it is not waited for, which only the first branch does.
        tokio::select! {
            status = child.wait() => return status.context("can't wait for the command"),
            Some(signal) = signals.recv() => drop(kill_process(pid, signal)),
            () = closed(&mut starter), if held => {
                held = false;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Returns when nobody holds the other end of the pipe any more.
async fn closed(pipe: &mut Receiver) {
    let mut ignored = [0; 64];
    while let Ok(1..) = pipe.read(&mut ignored).await {}
}

fn signals() -> anyhow::Result<mpsc::UnboundedReceiver<Signal>> {
    let (to, heard) = mpsc::unbounded_channel();
    for passed_on in PASSED_ON.into_iter().filter(|signal| !ignores(signal.as_raw())) {
        let mut received =
            signal(SignalKind::from_raw(passed_on.as_raw())).context("can't listen to signals")?;
        let to = to.clone();
        tokio::spawn(async move {
            while received.recv().await.is_some() {
                let _ = to.send(passed_on);
            }
        });
    }
    Ok(heard)
}

/// Kills and reaps until no descendant is left: the orphans of each that dies become children of this process.
async fn end_descendants() {
    let mut since = (Vec::new(), Instant::now());
    loop {
        let left = children();
        if left.is_empty() || (left == since.0 && since.1.elapsed() > STUCK_AFTER) {
            return;
        }
        for child in &left {
            let _ = kill_process(*child, Signal::KILL);
            let _ = waitpid(Some(*child), WaitOptions::NOHANG);
        }
        if left != since.0 {
            since = (left, Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends as the command did: with its exit code, or by its signal.
fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // What it died of is not this process's fault: it leaves no core file.
        let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
        let _ = setrlimit(Resource::Core, limit);
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
