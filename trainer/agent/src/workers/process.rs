//! One worker: a process group, its socket, its output, its end.

use super::env::Contract;
use super::log::{LogLine, lines};
use super::memory::OutOfMemory;
use crate::args::{own_certificates, variable};
use anyhow::Context;
use lockstep_jobspec::ByteSize;
use lockstep_run::link::{self, AgentMsg, Phase, Start, WorkerMsg, WorkerOutcome};
use lockstep_run::{Generation, Rank};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

/// A worker that has said its last word must be gone by then.
const EXIT_DEADLINE: Duration = Duration::from_secs(5);
/// What is still in the pipes of a dead worker is read for this long; a grandchild may hold them open.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// What a node runs for each rank.
#[derive(Debug, Clone)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables from the job file, references resolved.
    pub env: BTreeMap<String, String>,
    /// Where it runs; where the agent does, unless code was brought along.
    pub folder: Option<PathBuf>,
    /// True for a worker that speaks the link's protocol, false for a user's own command.
    pub speaks: bool,
    /// What the job file gives to the node in memory, where it says so.
    pub memory: Option<ByteSize>,
}

impl Program {
    /// What a rank does once it was started. A command doesn't say: it trains, as far as anybody knows.
    pub fn first_phase(&self) -> Phase {
        if self.speaks { Phase::Starting } else { Phase::Training }
    }
}

/// Something from a worker.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Generation, Rank, WorkerMsg),
    /// A line of output.
    Line(LogLine),
    /// Its end: the last word, or how it ended without one.
    Left(Generation, Rank, Result<WorkerOutcome, String>),
}

/// A running worker. Dropping it kills its process group.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    to: mpsc::UnboundedSender<AgentMsg>,
    gone: watch::Receiver<bool>,
}

impl Worker {
    pub(super) fn start(
        program: &Program,
        start: Start,
        contract: &Contract,
        sockets: &Path,
        heard: mpsc::Sender<Heard>,
    ) -> anyhow::Result<Self> {
        let socket = sockets.join(format!("{}-{}", start.generation, start.rank));
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("can't listen on {}", socket.display()))?;
        let agent = std::env::current_exe().context("can't find this program's own file")?;
        let mut command = Command::new(agent);
        command
            .arg("tether")
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&program.command);
        if let Some(name) = own_certificates() {
            command.env_remove(name);
        }
        if let Some(folder) = &program.folder {
            command.current_dir(folder);
        }
        command.envs(contract.environment(&program.env, program.speaks, variable)).env(link::ENV, &socket);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let name = program.command.first().map_or("", String::as_str);
        let memory = OutOfMemory::now(program.memory);
        let child = command.spawn().with_context(|| format!("can't start {name}"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the worker is gone already")?;
        let (to, messages) = mpsc::unbounded_channel();
        let (tell_gone, gone) = watch::channel(false);
        let speaks = program.speaks;
        tokio::spawn(async move {
            let (generation, rank) = (start.generation, start.rank);
            let how = run(child, pid, listener, start, speaks, messages, &heard).await;
            let how = how.map_err(|status| describe(status, &memory));
            let _ = std::fs::remove_file(&socket);
            let _ = tell_gone.send(true);
            let _ = heard.send(Heard::Left(generation, rank, how)).await;
        });
        Ok(Self { pid, to, gone })
    }

    pub(super) fn send(&self, message: AgentMsg) {
        let _ = self.to.send(message);
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // The group's number stays taken while its leader is unreaped, that is, until `gone` says so.
        if !*self.gone.borrow() {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    pub(super) async fn gone(&self) {
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn run(
    mut child: Child,
    pid: Pid,
    listener: UnixListener,
    start: Start,
    speaks: bool,
    messages: mpsc::UnboundedReceiver<AgentMsg>,
    heard: &mpsc::Sender<Heard>,
) -> Result<WorkerOutcome, std::io::Result<ExitStatus>> {
    let rank = start.rank;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = async {
        let out = async {
            if let Some(stdout) = stdout {
                lines(stdout, rank, heard).await;
            }
        };
        let err = async {
            if let Some(stderr) = stderr {
                lines(stderr, rank, heard).await;
            }
        };
        tokio::join!(out, err);
    };
    let mut output = std::pin::pin!(output);
    let mut talk = std::pin::pin!(talk(listener, start, messages, heard));
    let (mut last_word, mut output_over, mut talk_over) = (None, false, !speaks);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut output, if !output_over => output_over = true,
            word = &mut talk, if !talk_over => {
                (talk_over, last_word) = (true, word);
                if last_word.is_some() {
                    break tokio::time::timeout(EXIT_DEADLINE, child.wait()).await.unwrap_or_else(|_| {
                        let _ = kill_process_group(pid, Signal::KILL);
                        Ok(ExitStatus::default())
                    });
                }
            }
        }
    };
    // Whatever it started goes with it.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = child.wait().await;
    if !output_over {
        let _ = tokio::time::timeout(DRAIN_DEADLINE, output).await;
    }
    if !talk_over {
        // The last word may still be in the socket.
        last_word = tokio::time::timeout(DRAIN_DEADLINE, talk).await.ok().flatten();
    }
    match (last_word, status) {
        (Some(word), _) => Ok(word),
        (None, Ok(status)) if !speaks && status.success() => {
            Ok(WorkerOutcome::Done { step: Default::default() })
        }
        (None, status) => Err(status),
    }
}

/// Serves the worker's socket until it closes; returns its last word, if it said one.
async fn talk(
    listener: UnixListener,
    start: Start,
    mut messages: mpsc::UnboundedReceiver<AgentMsg>,
    heard: &mpsc::Sender<Heard>,
) -> Option<WorkerOutcome> {
    let (generation, rank) = (start.generation, start.rank);
    let (stream, _) = listener.accept().await.ok()?;
    let (mut receiver, mut sender) = link::split(stream);
    match receiver.recv::<WorkerMsg>().await {
        Ok(Some(WorkerMsg::Hello { .. })) => sender.send(&AgentMsg::Start(Box::new(start))).await.ok()?,
        _ => return None,
    }
    let send = async {
        while let Some(message) = messages.recv().await {
            if sender.send(&message).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let receive = async {
        loop {
            match receiver.recv::<WorkerMsg>().await {
                Ok(Some(WorkerMsg::Finished(outcome))) => return Some(outcome),
                Ok(Some(message)) => heard.send(Heard::Message(generation, rank, message)).await.ok()?,
                Ok(None) => return None,
                Err(e) => {
                    tracing::warn!(%rank, error = %e, "a worker sent what is no message");
                    return None;
                }
            }
        }
    };
    tokio::select! { word = receive => word, () = send => None }
}

fn describe(status: std::io::Result<ExitStatus>, memory: &OutOfMemory) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return format!("can't be waited for: {error}"),
    };
    match (status.signal(), status.code()) {
        (Some(SIGKILL), _) => {
            memory.words().unwrap_or_else(|| format!("was killed by {}", signal_name(SIGKILL)))
        }
        (Some(signal), _) => format!("was killed by {}", signal_name(signal)),
        (None, Some(code)) => format!("left with exit code {code}"),
        (None, None) => "left".to_owned(),
    }
}

/// The signal that nobody can refuse.
const SIGKILL: i32 = 9;

fn signal_name(signal: i32) -> String {
    let names = [
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (SIGKILL, "SIGKILL"),
        (11, "SIGSEGV"),
        (2, "SIGINT"),
        (15, "SIGTERM"),
        (4, "SIGILL"),
        (8, "SIGFPE"),
    ];
    names
        .iter()
        .find(|(n, _)| *n == signal)
        .map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
