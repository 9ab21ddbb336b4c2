//! Acts on what the state machine says: one loop, one queue for each source, nothing in it blocks.

mod account;
mod act;
mod gpus;
mod last_words;
mod look;
mod propose;
mod requests;
mod setup;
mod start_error;
mod strike;
mod watchdog;

pub use last_words::leave_words;
pub use start_error::StartError;

use crate::args::RunArgs;
use crate::kv::{Answer, Caller, Kv};
use crate::machine::{self, ExitCode, Machine, Time};
use crate::net::{Arrival, ConnectionId, Net, Outgoing};
use crate::report::Reporter;
use crate::wire::{Beat, LeaderMsg, MemberMsg};
use crate::workers::{Heard, Kept, Program, Workers};
use anyhow::Context;
use jiff::Timestamp;
use lockstep_job::JobSpec;
use lockstep_run::control::{Live, Reply, Request};
use lockstep_run::link::{AgentMsg, Phase, StoreOp, WorkerMsg};
use lockstep_run::process::say;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::temporary::Temporary;
use lockstep_run::{
    Generation, Incarnation, Launch, NodeId, Outcome, Rank, Recorded, Report, RunDir, RunRequest, RunUid,
    Saved, Step, Trace, Writer,
};
use look::Lookout;
use requests::Requests;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::time::MissedTickBehavior;
use watchdog::Watchdog;

/// The state machine's clock ticks this often.
const TICK: Duration = Duration::from_millis(50);
/// Strays are reaped and waits are told this often.
const CHORES_EVERY: Duration = Duration::from_secs(1);
/// A wait shorter than this isn't worth a word.
const WAIT_WORTH_A_WORD: Duration = Duration::from_secs(5);

/// How long the words of an agent that hangs may take.
const LAST_WORDS_DEADLINE: Duration = Duration::from_secs(1);

/// Everything about this agent that doesn't change.
#[derive(Debug)]
struct Facts {
    args: RunArgs,
    /// When the user typed the command.
    launched_at_unix_ms: u64,
    job: JobSpec,
    job_json: serde_json::Value,
    dir: RunDir,
    run_uid: RunUid,
    writer: Writer,
    program: Program,
}

/// The agent at work.
struct Driver {
    facts: Arc<Facts>,
    started: Instant,
    machine: Machine,
    net: Net,
    reporter: Reporter,
    kv: Kv,
    workers: Option<Workers>,
    /// Those that have outlived their generation.
    kept: Kept,
    members: HashMap<NodeId, Connected>,
    leader: Option<(ConnectionId, Outgoing<MemberMsg>)>,
    sockets: Temporary,
    lookout: Arc<Mutex<Lookout>>,
    requests: Arc<Mutex<Requests>>,
    requests_looked: Instant,
    heard: mpsc::Sender<Heard>,
    done: mpsc::UnboundedSender<Done>,
    live: Live,
    gpus: gpus::Gpus,
    first_step_known: bool,
    /// How often a fault made a new generation.
    restarts: u32,
    /// Workers of the generation that were in the one before.
    survivors: u32,
    accounted: Option<account::Said>,
    /// Since when the last generation is over here; none once rank 0 of this node has done a step of the next one.
    lost: Option<Instant>,
    /// The newest generation that follows a fault, until its first step is done.
    recovering: Option<Generation>,
    /// The newest checkpoint of this launch that this node knows of.
    saved: Option<Saved>,
    /// What the machine last gave as its reason, since when, and how long it had lasted when it was last said.
    waiting: (String, Instant, Duration),
    chores: Instant,
    exit: Option<ExitCode>,
}

/// A member's connection.
struct Connected {
    incarnation: Incarnation,
    id: ConnectionId,
    outgoing: Outgoing<LeaderMsg>,
}

/// What a task that the driver started came to.
enum Done {
    Event(Box<machine::Event>),
    Revoked(Kept),
    Dialed(NodeId, Incarnation, Option<(ConnectionId, Outgoing<MemberMsg>)>),
    Asked(Generation, Vec<(u64, RunRequest)>),
}

/// Runs a node until its run is over for it.
///
/// # Errors
/// Where the agent can't begin; the error says whether it is of use to start it again.
pub async fn run(args: RunArgs) -> Result<ExitCode, StartError> {
    let (arrivals_in, mut arrivals) = mpsc::channel(1024);
    let (heard_in, mut heard) = mpsc::channel(1024);
    let (done_in, mut done) = mpsc::unbounded_channel();
    let mut driver = setup::start(args, arrivals_in, heard_in, done_in).await?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let hear = |kind| signal(kind).context("can't listen to signals").map_err(StartError::Again);
    let (mut term, mut int) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    let watchdog = watch_over(driver.facts.args.last_words.clone())?;
    while driver.exit.is_none() {
        watchdog.turn();
        tokio::select! {
            Some(arrival) = arrivals.recv() => driver.on_arrival(arrival),
            Some(heard) = heard.recv() => driver.on_heard(heard),
            Some(done) = done.recv() => driver.on_done(done),
            _ = ticks.tick() => driver.on_tick(),
            _ = term.recv() => driver.handle(machine::Event::StopRequested { cause: "SIGTERM".to_owned() }),
            _ = int.recv() => driver.handle(machine::Event::StopRequested { cause: "Ctrl-C".to_owned() }),
        }
    }
    drop(watchdog);
    let outstay = driver.outstays();
    let code = driver.leave().await;
    tokio::select! {
        () = tokio::time::sleep(outstay) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(code)
}

/// Ends this process where its loop hangs; whoever started it does so again.
fn watch_over(last_words: Option<PathBuf>) -> Result<Watchdog, StartError> {
    let hung = move || {
        let error = "the agent's own loop stood still, as where a disk doesn't answer".to_owned();
        // What keeps the loop may keep the words, too.
        std::thread::spawn(move || {
            say(&format!("lockstep-agent: {error}"));
            if let Some(path) = last_words {
                leave_words(&path, Some(&Outcome::Failed { error }));
            }
        });
        std::thread::sleep(LAST_WORDS_DEADLINE);
        std::process::exit(ExitCode::Again.code());
    };
    Watchdog::start(hung).context("can't watch over the loop").map_err(StartError::Again)
}

impl Driver {
    fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn me(&self) -> NodeId {
        self.facts.writer.node
    }

    fn handle(&mut self, event: machine::Event) {
        let now = self.now();
        let actions = self.machine.on(now, event);
        for action in actions {
            self.act(action);
        }
    }

    fn on_tick(&mut self) {
        self.handle(machine::Event::Tick);
        let late = self.kv.expire(self.now());
        self.answer(late);
        if self.chores.elapsed() > CHORES_EVERY {
            self.chores = Instant::now();
            self.do_chores();
        }
    }

    /// What is not urgent, and too dear for every tick.
    fn do_chores(&mut self) {
        if let Some(workers) = &mut self.workers {
            workers.reap_strays();
            let generation = workers.generation();
            if !self.facts.program.speaks && workers.get_on() {
                self.handle(machine::Event::CommandGetsOn { generation });
            }
        }
        self.look_for_requests();
        self.look_at_gpus();
        self.say_account();
        let trouble = self.machine.trouble().map(str::to_owned);
        let idle = self.workers.is_none() || trouble.is_some();
        let reason = match trouble {
            Some(trouble) => format!("{}: {trouble}", self.machine.reason()),
            None => self.machine.reason(),
        };
        if reason != self.waiting.0 {
            self.waiting = (reason, Instant::now(), Duration::ZERO);
        }
        let waited = self.waiting.1.elapsed();
        if idle && waited > WAIT_WORTH_A_WORD.max(self.waiting.2 * 2) {
            self.waiting.2 = waited;
            self.reporter.waiting(self.waiting.0.clone(), waited);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Event(event) => self.handle(*event),
            Done::Revoked(kept) => self.kept = kept,
            Done::Dialed(node, incarnation, connection) => {
                let ok = connection.is_some();
                if ok {
                    self.leader = connection;
                }
                self.handle(machine::Event::Dialed { node, incarnation, ok });
            }
            Done::Asked(generation, asked) => self.on_asked(generation, asked),
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Member(who, id, outgoing) => {
                // An older life that is still on its way must not push a newer one aside.
                let newer = self.members.get(&who.node).is_some_and(|m| m.incarnation > who.incarnation);
                if !newer {
                    self.members.insert(who.node, Connected { incarnation: who.incarnation, id, outgoing });
                }
            }
            Arrival::MemberSays(who, id, msg) if self.is_member(who.node, id) => match msg {
                MemberMsg::Store { generation, rank, id, op } => {
                    self.serve_store(generation, Caller { node: who.node, rank, id }, op);
                }
                MemberMsg::Gpus { generation, gpus } => self.on_gpus(generation, who.node, gpus),
                msg => self.handle(machine::Event::FromMember {
                    node: who.node,
                    incarnation: who.incarnation,
                    msg,
                }),
            },
            Arrival::MemberGone(who, id) if self.is_member(who.node, id) => {
                self.members.remove(&who.node);
                self.handle(machine::Event::MemberGone { node: who.node, incarnation: who.incarnation });
            }
            Arrival::LeaderSays(id, msg) if self.is_leader(id) => match msg {
                LeaderMsg::StoreReply { rank, id, reply } => {
                    self.to_worker(rank, AgentMsg::StoreReply { id, reply })
                }
                LeaderMsg::Trace { generation, order } => self.trace(generation, order),
                LeaderMsg::Strike { generation, strike, by } => self.strike(generation, strike, &by),
                msg => self.handle(machine::Event::FromLeader(msg)),
            },
            Arrival::LeaderGone(id) if self.is_leader(id) => {
                self.leader = None;
                self.handle(machine::Event::LeaderGone);
            }
            Arrival::Client(request, reply) => {
                let _ = reply.send(self.on_request(request));
            }
            // The answer comes from this loop, so that an agent that hangs has none.
            Arrival::Health(reply) => drop(reply.send(self.machine.reason())),
            // A connection that was replaced since.
            Arrival::MemberSays(..)
            | Arrival::MemberGone(..)
            | Arrival::LeaderSays(..)
            | Arrival::LeaderGone(..) => {}
        }
    }

    fn is_member(&self, node: NodeId, id: ConnectionId) -> bool {
        self.members.get(&node).is_some_and(|member| member.id == id)
    }

    fn is_leader(&self, id: ConnectionId) -> bool {
        self.leader.as_ref().is_some_and(|(current, _)| *current == id)
    }

    fn on_request(&mut self, request: Request) -> Reply {
        match (request, self.machine.leader() == Some(self.me())) {
            (Request::Status, true) => {
                self.live.generation = self.machine.leads().unwrap_or_default();
                self.live.nodes_ready = self.members.len() as u32 + 1;
                let now = self.now();
                (self.live.gpus, self.live.gpu_seconds) = (self.gpus.of_nodes(now), self.gpus.seconds(now));
                self.live.account = self.machine.account();
                Reply::Status(Box::new(self.live.clone()))
            }
            (Request::Cancel { cause }, true) => {
                self.handle(machine::Event::CancelRequested { cause });
                Reply::Accepted
            }
            (_, false) => Reply::NotLeader,
        }
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Left(generation, rank, how) => {
                self.handle(machine::Event::WorkerLeft { generation, rank, how })
            }
            Heard::Message(generation, rank, message) => self.on_worker_msg(generation, rank, message),
        }
    }

    fn on_worker_msg(&mut self, generation: Generation, rank: Rank, message: WorkerMsg) {
        match message {
            WorkerMsg::Heartbeat { step, phase } => {
                if rank == Rank(0) {
                    self.on_first_rank(generation, step, phase);
                }
                self.handle(machine::Event::WorkerBeat { generation, beat: Beat { rank, step, phase } });
            }
            WorkerMsg::Store { id, op } => match self.machine.leader() == Some(self.me()) {
                true => self.serve_store(generation, Caller { node: self.me(), rank, id }, op),
                false => self.to_leader(MemberMsg::Store { generation, rank, id, op }),
            },
            WorkerMsg::Held { ask, started } => {
                self.handle(machine::Event::WorkerHeld { generation, rank, ask, started })
            }
            WorkerMsg::Report(report) => self.on_report(generation, *report),
            WorkerMsg::CheckpointCommitted { step, uri, num_bytes, seconds } => {
                let text = format!("checkpoint {step} committed, {num_bytes} bytes, {uri}");
                let event = self.reporter.here(generation, EventKind::Checkpoint, text);
                self.saved = Some(Saved { step, uri: uri.clone(), at: event.at });
                let (step, seconds, uri) = (Some(step), Some(seconds), Some(uri));
                self.reporter.tell(Event { step, seconds, uri, ..event });
            }
            WorkerMsg::CheckpointProblem { step, text } => {
                let event = self.reporter.here(generation, EventKind::CheckpointProblem, text);
                self.reporter.tell(Event { step: Some(step), ..event });
            }
            WorkerMsg::Traced { number, recorded } => self.on_traced(generation, rank, number, recorded),
            WorkerMsg::Computes { gpu } => self.on_computes(generation, gpu),
            WorkerMsg::Resumed { step, source } => {
                let text = format!("step {step}, from the memory of rank {source}");
                let event = self.reporter.here(generation, EventKind::Resumed, text);
                self.reporter.tell(Event { step: Some(step), ..event });
            }
            WorkerMsg::Warning(text) => self.reporter.event(generation, EventKind::Warning, text),
            // They belong to the connection, which deals with them itself.
            WorkerMsg::Hello { .. } | WorkerMsg::Left(_) | WorkerMsg::Finished(_) => {}
        }
    }

    fn on_first_rank(&mut self, generation: Generation, step: Step, phase: Phase) {
        (self.live.progress.step, self.live.phase) = (step, phase);
        if phase == Phase::Training
            && self.recovering.take_if(|recovering| *recovering == generation).is_some()
        {
            self.tell_recovered(generation, step);
        }
        if self.first_step_known || !matches!(phase, Phase::Training | Phase::Evaluating | Phase::Saving) {
            return;
        }
        self.first_step_known = true;
        let launched = Duration::from_millis(self.facts.launched_at_unix_ms);
        let seconds = unix_now().saturating_sub(launched).as_secs_f64();
        if let Ok(launched_at) = Timestamp::from_millisecond(self.facts.launched_at_unix_ms as i64) {
            let (launch, first_step_at) = (self.facts.args.launch.clone(), Timestamp::now());
            self.reporter.first_step(Launch {
                launch,
                launched_at,
                first_step_at,
                first_step_seconds: seconds,
            });
        }
        let since = match self.facts.args.launched_at {
            Some(_) => "launch",
            None => "its nodes were ready",
        };
        let text = format!("first step {seconds:.2} s after {since}");
        let event = self.reporter.here(generation, EventKind::FirstStep, text);
        self.reporter.tell(Event { step: Some(step), seconds: Some(seconds), ..event });
    }

    fn on_report(&mut self, generation: Generation, report: Report) {
        self.live.progress.merge(report.clone());
        self.machine.on_report(&report);
        let gpu_seconds = self.gpus.seconds(self.now());
        self.reporter.progress(generation, self.restarts, self.saved.clone(), gpu_seconds, report);
    }

    fn on_traced(&self, generation: Generation, rank: Rank, number: u64, recorded: Recorded) {
        let (node, host) = (self.me(), self.facts.args.host.clone());
        self.reporter.trace(number, Trace { rank, node, host, generation, recorded });
    }

    fn serve_store(&mut self, generation: Generation, caller: Caller, op: StoreOp) {
        let answers = self.kv.apply(self.now(), self.machine.leads(), generation, caller, op);
        self.answer(answers);
    }

    fn answer(&mut self, answers: Vec<Answer>) {
        for (Caller { node, rank, id }, reply) in answers {
            match node == self.me() {
                true => self.to_worker(rank, AgentMsg::StoreReply { id, reply }),
                false => self.to_member(node, LeaderMsg::StoreReply { rank, id, reply }),
            }
        }
    }

    fn to_worker(&self, rank: Rank, message: AgentMsg) {
        if let Some(workers) = &self.workers {
            workers.send(rank, message);
        }
    }

    fn to_member(&self, node: NodeId, message: LeaderMsg) {
        if let Some(member) = self.members.get(&node) {
            member.outgoing.send(message);
        }
    }

    fn to_leader(&self, message: MemberMsg) {
        if let Some((_, outgoing)) = &self.leader {
            outgoing.send(message);
        }
    }

    /// How long this process stays when everything is done.
    fn outstays(&self) -> Duration {
        match self.exit {
            Some(ExitCode::Done) if self.me() != NodeId(0) => Duration::from_secs(self.facts.args.outstay),
            _ => Duration::ZERO,
        }
    }

    async fn leave(mut self) -> ExitCode {
        drop(std::mem::take(&mut self.kept));
        self.say_last_account();
        self.reporter.clone().close().await;
        for (_, member) in self.members.drain() {
            member.outgoing.close().await;
        }
        if let Some((_, outgoing)) = self.leader.take() {
            outgoing.close().await;
        }
        if let Some(path) = &self.facts.args.last_words {
            leave_words(path, self.machine.ended());
        }
        self.exit.unwrap_or(ExitCode::Stopped)
    }
}

fn unix_now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
