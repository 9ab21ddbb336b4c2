//! Tells users: status lines on standard output, and segments of metrics, events and logs in the run's folder.

mod tfevents;

use crate::machine::Note;
use crate::workers::LogLine;
use jiff::Timestamp;
use lockstep_run::layout::Series;
use lockstep_run::link::{Phase, Progress};
use lockstep_run::segment::{Event, EventKind, Metric, SegmentWriter};
use lockstep_run::{Generation, Incarnation, Line, NodeId, RunDir, STANDING_EVERY, Saved};
use std::io::Write;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// How often what was collected becomes objects.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// At the end, storage gets this long to take the rest.
const LAST_FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// A log larger than this is flushed before its time.
const LOG_BYTES: usize = 256 << 10;

#[derive(Debug)]
enum Report {
    Progress { generation: Generation, restarts: u32, checkpoint: Option<Saved>, progress: Progress },
    Started { generation: Generation, restarts: u32, phase: Option<Phase> },
    Event(Event),
    Log(LogLine),
    Waiting(String, Duration),
    Close(oneshot::Sender<()>),
}

/// Takes reports without ever blocking; a task of its own writes them.
#[derive(Debug, Clone)]
pub struct Reporter {
    node: NodeId,
    queue: mpsc::UnboundedSender<Report>,
}

impl Reporter {
    /// Starts the task.
    pub fn start(dir: RunDir, generation: Generation, node: NodeId, incarnation: Incarnation) -> Self {
        let (queue, reports) = mpsc::unbounded_channel();
        tokio::spawn(Writer::new(dir, generation, node, incarnation).run(reports));
        Self { node, queue }
    }

    /// A logging interval or an evaluation.
    pub fn progress(
        &self,
        generation: Generation,
        restarts: u32,
        checkpoint: Option<Saved>,
        progress: Progress,
    ) {
        let _ = self.queue.send(Report::Progress { generation, restarts, checkpoint, progress });
    }

    /// A generation's workers start here; what rank 0 does, where it is one of them.
    pub fn started(&self, generation: Generation, restarts: u32, phase: Option<Phase>) {
        let _ = self.queue.send(Report::Started { generation, restarts, phase });
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
        let _ = self.queue.send(Report::Event(event));
    }

    /// A line of a worker's output.
    pub fn log(&self, line: LogLine) {
        let _ = self.queue.send(Report::Log(line));
    }

    /// What the agent waits for.
    pub fn waiting(&self, reason: String, since: Duration) {
        let _ = self.queue.send(Report::Waiting(reason, since));
    }

    /// Writes the rest and ends, within a deadline.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Report::Close(done)).is_ok() {
            let _ = tokio::time::timeout(LAST_FLUSH_DEADLINE, closed).await;
        }
    }
}

struct Writer {
    dir: RunDir,
    generation: Generation,
    metrics: SegmentWriter,
    tensorboard: SegmentWriter,
    events: SegmentWriter,
    log: SegmentWriter,
    /// Where the run stands, if rank 0 is here, and how many lines workers have printed since that was said.
    standing: Option<Line>,
    unsaid: u32,
    /// Since when writing fails, and when that is told again.
    failing: Option<(Instant, Instant)>,
}

impl Writer {
    fn new(dir: RunDir, generation: Generation, node: NodeId, incarnation: Incarnation) -> Self {
        let series = |s| SegmentWriter::new(dir.clone(), s);
        let (metrics, tensorboard) =
            (series(Series::Metrics(generation)), series(Series::TensorBoard(generation)));
        let events = series(Series::Events(generation, node, incarnation));
        let log = series(Series::Log(node, incarnation));
        Self { metrics, tensorboard, events, log, dir, generation, standing: None, unsaid: 0, failing: None }
    }

    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Report>) {
        let mut ticks = tokio::time::interval_at(Instant::now() + FLUSH_EVERY, FLUSH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(Report::Close(done)) => {
                        self.flush().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(report) => self.take(report).await,
                    None => return,
                },
                _ = ticks.tick() => self.flush().await,
            }
        }
    }

    async fn take(&mut self, report: Report) {
        match report {
            Report::Progress { generation, restarts, checkpoint, progress } => {
                if generation != self.generation {
                    self.turn(generation).await;
                }
                let metric = metric(generation, &progress);
                self.metrics.push_json(&metric);
                self.tensorboard.push(&tfevents::scalars(&metric));
                self.standing = Some(Line::Standing {
                    generation,
                    restarts,
                    phase: Phase::Training,
                    checkpoint: checkpoint.clone(),
                    progress: Some(progress.clone()),
                });
                self.unsaid = 0;
                print(&Line::Progress { generation, restarts, checkpoint, progress });
            }
            Report::Started { generation, restarts, phase } => {
                self.standing = phase.map(|phase| Line::Standing {
                    generation,
                    restarts,
                    phase,
                    checkpoint: None,
                    progress: None,
                });
                self.say_standing();
            }
            Report::Event(event) => {
                self.events.push_json(&event);
                print(&Line::Event(event));
            }
            Report::Log(line) => {
                self.log.push(format!("[rank {}] {}\n", line.rank, line.text).as_bytes());
                print(&Line::Log { rank: line.rank, text: line.text });
                self.unsaid += 1;
                if self.unsaid >= STANDING_EVERY {
                    self.say_standing();
                }
                if self.log.num_pending_bytes() > LOG_BYTES {
                    self.flush().await;
                }
            }
            Report::Waiting(reason, since) => print(&Line::Waiting { reason, seconds: since.as_secs() }),
            Report::Close(_) => {}
        }
    }

    fn say_standing(&mut self) {
        self.unsaid = 0;
        self.standing.iter().for_each(print);
    }

    /// A series belongs to one generation.
    async fn turn(&mut self, generation: Generation) {
        self.flush().await;
        self.generation = generation;
        self.metrics = SegmentWriter::new(self.dir.clone(), Series::Metrics(generation));
        self.tensorboard = SegmentWriter::new(self.dir.clone(), Series::TensorBoard(generation));
    }

    /// Writes what is pending. A failure that lasts is told at growing intervals: the log would be full of it otherwise.
    async fn flush(&mut self) {
        let mut failed = None;
        for series in [&mut self.metrics, &mut self.tensorboard, &mut self.events, &mut self.log] {
            failed = series.flush().await.err().or(failed);
        }
        let Some(error) = failed else {
            self.failing = None;
            return;
        };
        let now = Instant::now();
        let (since, next) = *self.failing.get_or_insert((now, now));
        if now >= next {
            tracing::warn!(%error, "can't write to the run's folder, will try again");
            self.failing = Some((since, now + (now - since).max(FLUSH_EVERY)));
        }
    }
}

fn metric(generation: Generation, progress: &Progress) -> Metric {
    Metric {
        step: progress.step,
        total_steps: progress.total_steps,
        epoch: progress.epoch,
        loss: progress.loss,
        lr: progress.lr,
        grad_norm: progress.grad_norm,
        samples_per_second: progress.samples_per_second,
        eval: progress.eval.clone(),
        generation,
        at: Timestamp::now(),
    }
}

fn print(line: &Line) {
    // A reader that went away must not end the agent.
    let _ = writeln!(std::io::stdout().lock(), "{}", line.to_text());
}
