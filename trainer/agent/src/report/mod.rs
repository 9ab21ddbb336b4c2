//! Tells users: status lines on standard output, and segments of metrics, events and logs in the run's folder.
//!
//! Nothing here blocks or waits: lines go to a thread that prints, and to tasks on a thread of their own that write.

mod printer;
mod shelf;
mod tfevents;

use crate::machine::Note;
use anyhow::Context;
use jiff::Timestamp;
use lockstep_run::link::Phase;
use lockstep_run::segment::{
    EVENTS, Event, EventKind, LOGS, METRICS, Metric, Owner, SegmentWriter, Series, TENSORBOARD,
};
use lockstep_run::{
    Generation, Launch, Line, Member, NodeId, Rank, Report, RunDir, STANDING_EVERY, Saved, Trace,
};
use printer::Printer;
use serde::Serialize;
use shelf::Shelf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// At the end, storage and the reader of standard output get this long to take the rest.
const LAST_DEADLINE: Duration = Duration::from_secs(5);
/// What a dead node left is tidied up this long after a generation was formed: training goes first.
const TIDY_AFTER: Duration = Duration::from_secs(10);

/// Takes reports without ever blocking.
#[derive(Debug, Clone)]
pub struct Reporter {
    node: NodeId,
    sinks: Arc<Sinks>,
    handle: Handle,
}

#[derive(Debug)]
struct Sinks {
    dir: RunDir,
    printer: Printer,
    metrics: Shelf,
    tensorboard: Shelf,
    events: Shelf,
    log: Shelf,
    standing: Mutex<Standing>,
    /// The shelves' tasks; taken by whoever closes.
    tasks: Mutex<Option<JoinHandle<()>>>,
    /// The task that tidies up.
    tidying: Mutex<Option<JoinHandle<()>>>,
    /// Dropped with the last reporter, which ends the thread.
    _alive: oneshot::Sender<()>,
}

/// Where the run stands, if rank 0 is here, and how many lines workers have printed since that was said.
#[derive(Debug, Default)]
struct Standing {
    line: Option<Line>,
    /// What all GPUs do, where this node leads and there are any.
    gpus: Option<Line>,
    /// What time has gone to, where this node leads.
    account: Option<Line>,
    unsaid: u32,
}

impl Reporter {
    /// Starts the threads. `dir` must not be used elsewhere: its connections live on a thread of this reporter.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn start(dir: RunDir, owner: Owner) -> anyhow::Result<Self> {
        let (alive, over) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let keep = move || {
            let _ = runtime.block_on(over);
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(keep).context("can't start a thread")?;
        let shelf = |kind| Shelf::start(SegmentWriter::new(dir.clone(), Series::of(kind, owner)));
        let (metrics, keep_metrics) = shelf(METRICS);
        let (tensorboard, keep_tensorboard) = shelf(TENSORBOARD);
        let (events, keep_events) = shelf(EVENTS);
        let (log, keep_log) = shelf(LOGS);
        let tasks = handle.spawn(async move {
            tokio::join!(keep_metrics, keep_tensorboard, keep_events, keep_log);
        });
        let sinks = Sinks {
            printer: Printer::start(std::io::stdout()).context("can't start a thread")?,
            metrics,
            tensorboard,
            events,
            log,
            standing: Mutex::default(),
            tasks: Mutex::new(Some(tasks)),
            tidying: Mutex::default(),
            dir,
            _alive: alive,
        };
        Ok(Self { node: owner.node, sinks: Arc::new(sinks), handle })
    }

    /// The thread on which workers' output is read.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// A logging interval or an evaluation.
    pub fn progress(
        &self,
        generation: Generation,
        restarts: u32,
        checkpoint: Option<Saved>,
        gpu_seconds: Option<f64>,
        report: Report,
    ) {
        let sinks = &self.sinks;
        let metric = Metric { report: report.clone(), generation, at: Timestamp::now(), gpu_seconds };
        sinks.metrics.push(&json_line(&metric), false);
        sinks.tensorboard.push(&tfevents::scalars(&metric), false);
        let mut standing = sinks.standing();
        standing.line = Some(Line::Standing {
            generation,
            restarts,
            phase: Phase::Training,
            checkpoint: checkpoint.clone(),
            progress: Some(report.clone()),
        });
        standing.unsaid = 0;
        sinks.printer.print(Line::Progress { generation, restarts, checkpoint, report });
    }

    /// A generation's workers start here; what rank 0 does, where it is one of them.
    pub fn started(&self, generation: Generation, restarts: u32, phase: Option<Phase>) {
        let line = |phase| Line::Standing { generation, restarts, phase, checkpoint: None, progress: None };
        let mut standing = self.sinks.standing();
        (standing.line, standing.gpus, standing.account) = (phase.map(line), None, None);
        self.sinks.say(&mut standing);
    }

    /// What all GPUs of the run do.
    pub fn gpus(&self, line: Line) {
        self.sinks.standing().gpus = Some(line.clone());
        self.sinks.printer.print(line);
    }

    /// What the run's time has gone to.
    pub fn account(&self, line: Line) {
        self.sinks.standing().account = Some(line.clone());
        self.sinks.printer.print(line);
    }

    /// Something that the state machine noticed.
    pub fn note(&self, note: Note) {
        let Note { kind, generation, node, rank, text } = note;
        self.tell(Event { node, rank, ..self.here(generation, kind, text) });
    }

    /// Something that happened on this node.
    pub fn event(&self, generation: Generation, kind: EventKind, text: String) {
        self.tell(self.here(generation, kind, text));
    }

    /// Something that happened on this node just now, without step, time and place.
    pub fn here(&self, generation: Generation, kind: EventKind, text: String) -> Event {
        let (node, at) = (Some(self.node), Timestamp::now());
        Event { at, generation, node, rank: None, kind, text, step: None, seconds: None, uri: None }
    }

    /// Publishes an event.
    pub fn tell(&self, event: Event) {
        // A checkpoint has a record of its own; the others tell what nobody else does.
        let soon = event.kind != EventKind::Checkpoint;
        self.sinks.events.push(&json_line(&event), soon);
        if event.kind == EventKind::Checkpoint {
            // Steps before it are never measured again, so what they measured mustn't be lost with this agent.
            self.sinks.metrics.flush();
            self.sinks.tensorboard.flush();
        }
        self.sinks.printer.print(Line::Event(event));
    }

    /// A line of a worker's output, without its end.
    pub fn log(&self, rank: Rank, text: String) {
        let sinks = &self.sinks;
        sinks.log.push_or_drop(format!("[rank {rank}] {text}\n").as_bytes());
        sinks.printer.print(Line::Log { rank, text });
        let mut standing = sinks.standing();
        standing.unsaid += 1;
        if standing.unsaid >= STANDING_EVERY {
            sinks.say(&mut standing);
        }
    }

    /// What the agent waits for.
    pub fn waiting(&self, reason: String, since: Duration) {
        self.sinks.printer.print(Line::Waiting { reason, seconds: since.as_secs() });
    }

    /// Records that a launch has done its first step.
    pub fn first_step(&self, launch: Launch) {
        let dir = self.sinks.dir.clone();
        self.handle.spawn(async move {
            if let Err(error) = dir.launch_or_create(launch).await {
                tracing::warn!(%error, "can't record when the first step was done");
            }
        });
    }

    /// Keeps what a rank recorded.
    pub fn trace(&self, number: u64, trace: Trace) {
        let dir = self.sinks.dir.clone();
        self.handle.spawn(async move {
            if let Err(error) = dir.keep_trace(number, &trace).await {
                tracing::warn!(%error, rank = %trace.rank, "can't keep a trace");
            }
        });
    }

    /// Merges, in a while, what agents left that are no members any more. For the leader of a generation.
    pub fn tidy(&self, members: &[Member]) {
        let lives: Vec<_> = members.iter().map(|m| (m.node, m.incarnation)).collect();
        let dir = self.sinks.dir.clone();
        let mut tidying = self.sinks.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = tidying.take() {
            before.abort();
        }
        *tidying = Some(self.handle.spawn(async move {
            tokio::time::sleep(TIDY_AFTER).await;
            if let Err(error) = dir.tidy(|node, life| lives.contains(&(node, life))).await {
                tracing::debug!(%error, "can't tidy up the run's folder, the next leader will try");
            }
        }));
    }

    /// Writes the rest and ends, within a deadline.
    pub async fn close(self) {
        let sinks = &self.sinks;
        for shelf in [&sinks.metrics, &sinks.tensorboard, &sinks.events, &sinks.log] {
            shelf.close();
        }
        let printer = sinks.printer.clone();
        let drain = tokio::task::spawn_blocking(move || printer.drain(LAST_DEADLINE));
        let tasks = sinks.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = async {
            if let Some(tasks) = tasks {
                let _ = tasks.await;
            }
            let _ = drain.await;
        };
        let _ = tokio::time::timeout(LAST_DEADLINE, written).await;
    }
}

impl Sinks {
    // Nothing panics while the lock is held.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, standing: &mut Standing) {
        standing.unsaid = 0;
        [&standing.line, &standing.gpus, &standing.account]
            .into_iter()
            .flatten()
            .for_each(|line| self.printer.print(line.clone()));
    }
}

/// One line of a series; these types hold no maps with foreign keys, so they always become JSON.
fn json_line<T: Serialize>(line: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}
