//! One agent as a child process.

use super::launch::Launch;
use super::lines::Lines;
use crate::signals::StopSignal;
use anyhow::Context;
use lockstep_run::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// What the agent's parent is called, so that it isn't taken for the agent.
const TETHER: &str = "lockstep-tether";
/// What is still in the pipes of a dead agent is read for this long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);
/// An agent's parent that hasn't ended everything by then is killed itself.
const KILL_DEADLINE: Duration = Duration::from_secs(15);

/// Something from an agent.
#[derive(Debug)]
pub(super) enum Said {
    /// A line of standard output.
    Out(String),
    /// A line of standard error.
    Err(NodeId, String),
    /// Its end, and that of everything that it started.
    Left(NodeId, Option<ExitStatus>),
}

/// A running agent. Dropping it kills it and all its descendants.
#[derive(Debug)]
pub(super) struct Agent {
    /// The tether's, which passes signals on.
    pid: Pid,
    /// While this is held, the tether lets it live.
    held: Option<ChildStdin>,
    killed: Option<Instant>,
}

impl Agent {
    pub(super) fn start(
        launch: &Launch,
        job: &Path,
        node: NodeId,
        said: mpsc::Sender<Said>,
    ) -> anyhow::Result<Self> {
        let agent = &launch.agent;
        let mut command = Command::new(agent);
        command.arg0(TETHER).args(["tether", "--stay", "--"]).arg(agent).arg("run");
        command
            .arg("--run-dir")
            .arg(&launch.run_dir)
            .arg("--job")
            .arg(job)
            .arg("--node")
            .arg(node.to_string());
        command
            .arg("--launch")
            .arg(&launch.id)
            .arg("--launched-at")
            .arg(launch.launched_at_unix_ms.to_string());
        command
            .arg("--host")
            .arg(launch.loopback.to_string())
            .arg("--scratch")
            .arg(launch.scratch.join(format!("node-{node}")));
        command.arg("--first-gpu").arg(node.0.saturating_mul(launch.ranks_per_node).to_string());
        command.args(launch.resume.option()).args(launch.origin.arguments());
        if let Some(folder) = &launch.folder {
            command.current_dir(folder);
        }
        // A group of its own: Ctrl-C reaches the launcher alone, which then asks for an orderly stop.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {}", agent.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the agent is gone already")?;
        let held = child.stdin.take();
        tokio::spawn(watch(child, node, said));
        Ok(Self { pid, held, killed: None })
    }

    /// Asks it to leave. Only call this for an agent whose end has not been reported yet.
    pub(super) fn terminate(&self, by: StopSignal) {
        let signal = match by {
            StopSignal::Interrupt => Signal::INT,
            StopSignal::Terminate => Signal::TERM,
        };
        let _ = kill_process(self.pid, signal);
    }

    /// Kills it and all its descendants. To be called again while its end is not reported: then also a tether that doesn't do
    /// what it is for is killed.
    pub(super) fn kill(&mut self) {
        self.held = None;
        if self.killed.get_or_insert_with(Instant::now).elapsed() > KILL_DEADLINE {
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }

    /// Whether it was told to die.
    pub(super) fn is_killed(&self) -> bool {
        self.killed.is_some()
    }
}

/// How an agent ended, in words.
pub(super) fn how(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("left with exit code {code}"),
        Some((None, Some(signal))) => format!("was killed by signal {signal}"),
        _ => "is gone".to_owned(),
    }
}

async fn watch(mut child: Child, node: NodeId, said: mpsc::Sender<Said>) {
    let out = child.stdout.take().map(|s| tokio::spawn(pass(s, said.clone(), Said::Out)));
    let err =
        child.stderr.take().map(|s| tokio::spawn(pass(s, said.clone(), move |line| Said::Err(node, line))));
    let status = child.wait().await;
    for reader in [out, err].into_iter().flatten() {
        // Somebody else may hold the pipe open: what is in it now is enough.
        let _ = tokio::time::timeout(DRAIN_DEADLINE, reader).await;
    }
    let _ = said.send(Said::Left(node, status.ok())).await;
}

async fn pass<R: AsyncRead + Unpin>(from: R, to: mpsc::Sender<Said>, wrap: impl Fn(String) -> Said) {
    let mut lines = Lines::new(from);
    while let Ok(Some(line)) = lines.next().await {
        if to.send(wrap(line)).await.is_err() {
            return;
        }
    }
}
