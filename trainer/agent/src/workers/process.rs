//! One worker: a process group, its socket, its output, its end.

use super::env::Contract;
use super::log::lines;
use super::memory::OutOfMemory;
use crate::args::{own_certificates, variable};
use crate::report::Reporter;
use anyhow::Context;
use lockstep_job::{ByteSize, Expanded};
use lockstep_run::link::{self, AgentMsg, Phase, Start, WorkerMsg, WorkerOutcome};
use lockstep_run::{Generation, Rank};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getuid, kill_process_group, waitid};
use signal_hook::consts::SIGKILL;
use signal_hook::low_level::signal_name;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::unix::pipe::Receiver;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A worker that has said its last word must be gone by then.
const EXIT_DEADLINE: Duration = Duration::from_secs(5);
/// What is still in the pipes of a dead worker is read for this long; a grandchild may hold them open.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);
/// What a command prints sooner may be its last words: after that it gets on.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// Names the file that a user's command touches to say that it gets on.
const HEARTBEAT_ENV: &str = "LOCKSTEP_HEARTBEAT";

/// What a node runs for each rank.
#[derive(Debug, Clone)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables from the job file, references resolved.
    pub env: Expanded,
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
    /// Its end, or that of its part in the generation: the last word, or how it ended without one.
    Left(Generation, Rank, Result<WorkerOutcome, String>),
}

/// A running worker. Dropping it kills its process group.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    to: mpsc::UnboundedSender<AgentMsg>,
    /// What it was told last, and whether it has left that generation and waits for the next one.
    part: Arc<Part>,
    gone: watch::Receiver<bool>,
    started: Instant,
    /// Lines that it has printed.
    printed: Arc<AtomicU64>,
    /// The file that it may touch, and what was last seen of it and of its output.
    heartbeat: PathBuf,
    seen: (u64, Option<SystemTime>),
}

/// A worker's part in a generation.
#[derive(Debug)]
struct Part {
    generation: watch::Sender<Generation>,
    is_over: watch::Sender<bool>,
}

impl Worker {
    pub(super) fn start(
        program: &Program,
        start: Start,
        contract: &Contract,
        sockets: &Path,
        heard: mpsc::Sender<Heard>,
        reporter: &Reporter,
    ) -> anyhow::Result<Self> {
        let socket = sockets.join(format!("{}-{}", start.generation, start.rank));
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("can't listen on {}", socket.display()))?;
        let heartbeat = sockets.join(format!("alive-{}-{}", start.generation, start.rank));
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
        if !program.speaks {
            command.env(HEARTBEAT_ENV, &heartbeat);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let name = program.command.first().map_or("", String::as_str);
        let memory = OutOfMemory::now(program.memory);
        let mut process = Process::spawn(&mut command).with_context(|| format!("can't start {name}"))?;
        let (pid, printed) = (process.pid, Arc::default());
        let (stdout, stderr) = (process.child.stdout.take(), process.child.stderr.take());
        let outputs = [stdout.map(OwnedFd::from), stderr.map(OwnedFd::from)];
        let outputs = outputs.into_iter().flatten().map(|pipe| read(pipe, start.rank, reporter, &printed));
        let outputs: Vec<_> = outputs.collect();
        let (to, messages) = mpsc::unbounded_channel();
        let (tell_gone, gone) = watch::channel(false);
        let speaks = program.speaks;
        let part = Arc::new(Part {
            generation: watch::Sender::new(start.generation),
            is_over: watch::Sender::new(false),
        });
        let its_part = Arc::clone(&part);
        tokio::spawn(async move {
            let rank = start.rank;
            let how =
                run(process, &tell_gone, outputs, listener, start, speaks, messages, &its_part, &heard).await;
            let generation = *its_part.generation.borrow();
            let how = how.map_err(|status| describe(status, &memory));
            let _ = std::fs::remove_file(&socket);
            let _ = heard.send(Heard::Left(generation, rank, how)).await;
        });
        let (started, seen) = (Instant::now(), (0, None));
        Ok(Self { pid, to, part, gone, started, printed, heartbeat, seen })
    }

    pub(super) fn send(&self, message: AgentMsg) {
        let _ = self.to.send(message);
    }

    /// Begins another generation in a worker that waits for one.
    pub(super) fn begin(&self, start: Start) {
        self.part.is_over.send_replace(false);
        self.send(AgentMsg::Start(Box::new(start)));
    }

    /// Whether it waits for another generation.
    pub(super) fn waits(&self) -> bool {
        *self.part.is_over.borrow() && !*self.gone.borrow()
    }

    /// Ends its part in the generation; returns once it has, or has ended itself.
    pub(super) async fn revoke(&self) {
        if !self.waits() {
            self.send(AgentMsg::Revoke);
        }
        let mut over = self.part.is_over.subscribe();
        tokio::select! {
            _ = over.wait_for(|over| *over) => {}
            () = self.gone() => {}
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether a user's command has got on since this was last asked: it printed, long enough after its start for that not
    /// to be the reason of its end, or touched its file.
    pub(super) fn gets_on(&mut self) -> bool {
        let touched = std::fs::metadata(&self.heartbeat).and_then(|found| found.modified()).ok();
        let now = (self.printed.load(Ordering::Relaxed), touched);
        let before = std::mem::replace(&mut self.seen, now);
        let printed = now.0 != before.0 && self.started.elapsed() > SETTLED_AFTER;
        printed || now.1 != before.1
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // The group's number stays taken while its leader is unreaped, and `gone` says so before it is reaped.
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

/// A child that stays unreaped, so that its number is nobody else's, until [`Process::reap`]. Dropping it ends it.
struct Process {
    child: Child,
    pid: Pid,
    /// Tells that some child of this agent has ended.
    some_child: tokio::signal::unix::Signal,
}

impl Process {
    fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        // Listened to before there is a child, so none ends unheard.
        let some_child = signal(SignalKind::child()).context("can't listen to signals")?;
        let mut child = command.spawn()?;
        match Pid::from_raw(child.id() as i32) {
            Some(pid) => Ok(Self { child, pid, some_child }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("it has no number")
            }
        }
    }

    /// Waits until the process has ended; it is still there as a zombie.
    async fn exit(&mut self) {
        while !self.has_ended() && self.some_child.recv().await.is_some() {}
    }

    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error says that there is nobody to wait for.
        !matches!(waitid(WaitId::Pid(self.pid), look), Ok(None))
    }

    /// Ends whatever is left of the group, and the process; its number may be another's from here on.
    fn reap(&mut self) -> std::io::Result<ExitStatus> {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `reap` this asks nobody: the status is known.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.reap();
        }
    }
}

fn read(pipe: OwnedFd, rank: Rank, to: &Reporter, printed: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (reporter, printed) = (to.clone(), printed.clone());
    to.handle().spawn(async move {
        let to = |text: String| {
            printed.fetch_add(1, Ordering::Relaxed);
            reporter.log(rank, text);
        };
        match Receiver::from_owned_fd(pipe) {
            Ok(pipe) => lines(pipe, to).await,
            Err(error) => tracing::warn!(%rank, %error, "can't read a worker's output"),
        }
    })
}

#[expect(clippy::too_many_arguments, reason = "the parts of one worker, taken apart once")]
async fn run(
    mut process: Process,
    tell_gone: &watch::Sender<bool>,
    outputs: Vec<JoinHandle<()>>,
    listener: UnixListener,
    start: Start,
    speaks: bool,
    messages: mpsc::UnboundedReceiver<AgentMsg>,
    part: &Part,
    heard: &mpsc::Sender<Heard>,
) -> Result<WorkerOutcome, std::io::Result<ExitStatus>> {
    let mut talk = std::pin::pin!(talk(listener, start, messages, part, heard));
    let (mut last_word, mut talk_over) = (None, !speaks);
    loop {
        tokio::select! {
            () = process.exit() => break,
            word = &mut talk, if !talk_over => {
                (talk_over, last_word) = (true, word);
                if last_word.is_some() {
                    // One that doesn't leave then is ended below.
                    let _ = tokio::time::timeout(EXIT_DEADLINE, process.exit()).await;
                    break;
                }
            }
        }
    }
    // Nobody signals the group from here on: when it is reaped its number may become another's.
    let _ = tell_gone.send(true);
    let status = process.reap();
    let drained = futures::future::join_all(outputs);
    let _ = tokio::time::timeout(DRAIN_DEADLINE, drained).await;
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

/// The connection of this user's worker; others have no business here.
async fn accept(listener: &UnixListener) -> Option<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await.ok()?;
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == getuid().as_raw() => return Some(stream),
            Ok(peer) => tracing::warn!(uid = peer.uid(), "another user connected to a worker's socket"),
            Err(_) => {}
        }
    }
}

/// Serves the worker's socket until it closes; returns its last word, if it said one.
async fn talk(
    listener: UnixListener,
    start: Start,
    mut messages: mpsc::UnboundedReceiver<AgentMsg>,
    part: &Part,
    heard: &mpsc::Sender<Heard>,
) -> Option<WorkerOutcome> {
    let rank = start.rank;
    let stream = accept(&listener).await?;
    let (mut receiver, mut sender) = link::split(stream);
    match receiver.recv::<WorkerMsg>().await {
        Ok(Some(WorkerMsg::Hello { .. })) => sender.send(&AgentMsg::Start(Box::new(start))).await.ok()?,
        _ => return None,
    }
    let send = async {
        while let Some(message) = messages.recv().await {
            if let AgentMsg::Start(start) = &message {
                part.generation.send_replace(start.generation);
            }
            if sender.send(&message).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let receive = async {
        // What it says between two generations belongs to none.
        let mut left = None;
        loop {
            let received = receiver.recv::<WorkerMsg>().await;
            let generation = *part.generation.borrow();
            match received {
                Ok(Some(WorkerMsg::Finished(outcome))) => return Some(outcome),
                Ok(Some(WorkerMsg::Left(outcome))) => {
                    left = Some(generation);
                    heard.send(Heard::Left(generation, rank, Ok(outcome))).await.ok()?;
                    part.is_over.send_replace(true);
                }
                Ok(Some(_)) if left == Some(generation) => {}
                Ok(Some(message)) => heard.send(Heard::Message(generation, rank, message)).await.ok()?,
                Ok(None) => return None,
                Err(e) => {
                    tracing::warn!(%rank, error = %e, "a worker sent something that is not a message");
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
        (Some(SIGKILL), _) => memory.words().unwrap_or_else(|| format!("was killed by {}", name(SIGKILL))),
        (Some(signal), _) => format!("was killed by {}", name(signal)),
        (None, Some(code)) => format!("left with exit code {code}"),
        (None, None) => "left".to_owned(),
    }
}

fn name(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
