//! One agent as a child process.

use super::supervise::Launch;
use anyhow::Context;
use lockstep_run::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Something from an agent.
#[derive(Debug)]
pub(super) enum Said {
    /// A line of standard output.
    Out(String),
    /// A line of standard error.
    Err(NodeId, String),
    /// Its end: exit code, or none where a signal killed it.
    Left(NodeId, Option<i32>),
}

#[derive(Debug)]
pub(super) struct Agent {
    pid: Pid,
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
        command
            .arg("tether")
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(agent)
            .arg("run");
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
            .arg("127.0.0.1")
            .arg("--scratch")
            .arg(launch.scratch.join(format!("node-{node}")));
        command.arg("--resume").arg(&launch.resume);
        // A group of its own: Ctrl-C reaches the launcher alone, which then asks for an orderly stop.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("can't start {}", agent.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the agent is gone already")?;
        tokio::spawn(watch(child, node, said));
        Ok(Self { pid })
    }

    /// Sends a signal. Only call this for an agent whose end has not been reported yet.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }
}

async fn watch(mut child: Child, node: NodeId, said: mpsc::Sender<Said>) {
    let out = child.stdout.take().map(|s| tokio::spawn(pass(s, said.clone(), Said::Out)));
    let err =
        child.stderr.take().map(|s| tokio::spawn(pass(s, said.clone(), move |line| Said::Err(node, line))));
    let status = child.wait().await;
    for reader in [out, err].into_iter().flatten() {
        // A grandchild may hold the pipe open: what is in it now is enough.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), reader).await;
    }
    let _ = said.send(Said::Left(node, status.ok().and_then(|s| s.code()))).await;
}

async fn pass<R: AsyncRead + Unpin>(from: R, to: mpsc::Sender<Said>, wrap: impl Fn(String) -> Said) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if to.send(wrap(line)).await.is_err() {
            return;
        }
    }
}
