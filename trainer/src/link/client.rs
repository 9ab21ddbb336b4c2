use super::outbox::Outbox;
use super::store::{LinkStore, Pending};
use crate::control::{Control, Stop};
use crate::{Error, Result};
use lockstep_run::link::{self, AgentMsg, Phase, Start, WorkerMsg, WorkerOutcome};
use lockstep_run::process::say;
use rustix::process::{Signal, getpid, kill_process};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};

/// How long the agent may take to accept this worker and say what to do.
const GREETING: Duration = Duration::from_secs(30);

/// How long the last message may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

type Receiver = link::Receiver<UnixStream>;
type Sender = link::Sender<UnixStream>;

/// A connection to the agent that has said [`Start`] and waits to be served.
#[derive(Debug)]
pub(crate) struct Link {
    runtime: Runtime,
    receiver: Receiver,
    sender: Sender,
}

/// A connection that is served by its own thread.
#[derive(Debug)]
pub(crate) struct Served {
    outbox: Outbox,
    pending: Arc<Pending>,
    /// Generations that begin.
    orders: std::sync::mpsc::Receiver<Order>,
    ended: std::sync::mpsc::Receiver<()>,
}

/// What the agent orders for a generation, and where its further orders arrive.
type Order = (Start, Arc<Control>);

impl Link {
    /// Connects, introduces this worker, and waits for its orders.
    ///
    /// # Errors
    /// [`Error::Link`] within 30 seconds.
    pub(crate) fn connect(socket: &Path, local_rank: u32) -> Result<(Self, Start)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Os { what: "starting the I/O runtime", source })?;
        let greeting = runtime.block_on(async { timeout(GREETING, greet(socket, local_rank)).await });
        let (receiver, sender, start) =
            greeting.map_err(|_| failed("connecting", "no answer within 30 s"))??;
        Ok((Self { runtime, receiver, sender }, start))
    }

    /// Hands the connection to a thread that sends heartbeats, serves the agent's requests, and ends this process at
    /// once where the agent is gone: a worker never outlives its agent.
    pub(crate) fn serve(self, heartbeat: Duration, control: Arc<Control>) -> Result<Served> {
        let (outbox, outgoing) = Outbox::new();
        let (guard, ended) = std::sync::mpsc::channel();
        let (order, orders) = std::sync::mpsc::channel();
        let pending = Arc::new(Pending::default());
        let io = Io { control, order, pending: Arc::clone(&pending), sender: self.sender, outgoing };
        let (runtime, receiver) = (self.runtime, self.receiver);
        std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || {
                let _dropped_at_the_end = guard;
                // Unwind safe: after a panic the process ends.
                let served =
                    catch_unwind(AssertUnwindSafe(|| runtime.block_on(io.serve(receiver, heartbeat))));
                let problem = match served {
                    Ok(Ok(())) => None,
                    Ok(Err(e)) => Some(e.to_string()),
                    Err(_) => Some("the link's thread panicked".to_owned()),
                };
                if let Some(problem) = problem {
                    say(&format!("lockstep-worker: {problem}; leaving"));
                    // Not exit(): its handlers would run beside a training thread that is deep inside libtorch.
                    let _ = kill_process(getpid(), Signal::KILL);
                }
            })
            .map_err(|source| Error::Os { what: "starting the link's thread", source })?;
        Ok(Served { outbox, pending, orders, ended })
    }
}

impl Served {
    /// For messages.
    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// The store of the generation.
    pub(crate) fn store(&self) -> LinkStore {
        LinkStore::new(self.outbox(), Arc::clone(&self.pending))
    }

    /// Ends this worker's part in a generation, whose `control` that is, and waits for the next one.
    ///
    /// # Errors
    /// [`Error::Link`] where there will be none.
    pub(crate) fn next(&self, outcome: WorkerOutcome, control: &Control) -> Result<Order> {
        control.enter(Phase::Starting);
        self.outbox.send(WorkerMsg::Left(outcome));
        self.orders.recv().map_err(|_| failed("waiting for orders", "the link is closed"))
    }

    /// Says the last word and waits until it has left.
    pub(crate) fn finish(&self, outcome: WorkerOutcome) {
        self.outbox.send(WorkerMsg::Finished(outcome));
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

async fn greet(socket: &Path, local_rank: u32) -> Result<(Receiver, Sender, Start)> {
    let stream = UnixStream::connect(socket).await.map_err(|e| failed("connecting", e))?;
    let (mut receiver, mut sender) = link::split(stream);
    let pid = std::process::id();
    sender.send(&WorkerMsg::Hello { pid, local_rank }).await.map_err(|e| failed("introducing itself", e))?;
    match receiver.recv().await.map_err(|e| failed("waiting for orders", e))? {
        Some(AgentMsg::Start(start)) => Ok((receiver, sender, *start)),
        Some(other) => Err(failed("waiting for orders", format!("got {other:?} instead"))),
        None => Err(failed("waiting for orders", "the agent closed it")),
    }
}

/// What the link's thread works with.
struct Io {
    /// Of the generation that this worker is in, or was in last.
    control: Arc<Control>,
    order: std::sync::mpsc::Sender<Order>,
    pending: Arc<Pending>,
    sender: Sender,
    outgoing: mpsc::UnboundedReceiver<WorkerMsg>,
}

impl Io {
    /// Returns once the last message has left.
    async fn serve(mut self, mut receiver: Receiver, heartbeat: Duration) -> Result<()> {
        let mut tick = tokio::time::interval(heartbeat);
        // After a stall one heartbeat says enough.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = receiver.recv() => {
                    let message = message.map_err(|e| failed("listening", e))?;
                    self.obey(message.ok_or_else(|| failed("listening", "the agent closed it"))?)
                }
                message = self.outgoing.recv() => match message {
                    Some(last @ WorkerMsg::Finished(_)) => return self.send(last).await,
                    Some(message) => Some(message),
                    None => return Ok(()),
                },
                _ = tick.tick() => {
                    let (step, phase) = self.control.pulse();
                    Some(WorkerMsg::Heartbeat { step, phase })
                }
            };
            if let Some(message) = message {
                self.send(message).await?;
            }
        }
    }

    fn obey(&mut self, message: AgentMsg) -> Option<WorkerMsg> {
        match message {
            AgentMsg::StoreReply { id, reply } => {
                self.pending.answer(id, reply);
                None
            }
            AgentMsg::HoldAt { ask, step } => {
                Some(WorkerMsg::Held { ask, started: self.control.hold_at(ask, step) })
            }
            AgentMsg::StopAt { step, reason, ends_run } => {
                self.control.stop_at(Stop { step, reason, ends_run });
                None
            }
            AgentMsg::Trace(order) => {
                self.control.order_trace(order);
                None
            }
            AgentMsg::Revoke => {
                self.control.revoke();
                None
            }
            AgentMsg::Start(start) => {
                self.control = Arc::default();
                // Who doesn't wait for it is about to leave.
                let _ = self.order.send((*start, Arc::clone(&self.control)));
                None
            }
        }
    }

    async fn send(&mut self, message: WorkerMsg) -> Result<()> {
        self.sender.send(&message).await.map_err(|e| failed("talking", e))
    }
}

fn failed(during: &'static str, reason: impl ToString) -> Error {
    Error::Link { during, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_agent::kv::{Caller, Kv};
    use lockstep_c10d::conformance;
    use lockstep_run::{Generation, NodeId, Rank, Step};
    use std::time::Instant;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// The part of an agent that serves the store.
    async fn serve_store(stream: UnixStream) {
        let (mut receiver, mut sender) = link::split(stream);
        let (mut kv, since, generation) = (Kv::default(), Instant::now(), Generation(1));
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            let answers = tokio::select! {
                message = receiver.recv() => match message.unwrap() {
                    Some(WorkerMsg::Store { id, op }) => {
                        let caller = Caller { node: NodeId(0), rank: Rank(0), id };
                        kv.apply(since.elapsed(), Some(generation), generation, caller, op)
                    }
                    Some(WorkerMsg::Finished(_)) | None => return,
                    Some(_) => vec![],
                },
                _ = ticks.tick() => kv.expire(since.elapsed()),
            };
            for (caller, reply) in answers {
                sender.send(&AgentMsg::StoreReply { id: caller.id, reply }).await.unwrap();
            }
        }
    }

    #[test]
    fn the_store_that_workers_get_from_their_agent_keeps_the_contract() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let agent = std::thread::spawn(move || {
            theirs.set_nonblocking(true).unwrap();
            runtime().block_on(async { serve_store(UnixStream::from_std(theirs).unwrap()).await });
        });
        let runtime = runtime();
        ours.set_nonblocking(true).unwrap();
        let (receiver, sender) = runtime.block_on(async { link::split(UnixStream::from_std(ours).unwrap()) });
        let link = Link { runtime, receiver, sender };
        let served = link.serve(Duration::from_millis(200), Arc::default()).unwrap();
        conformance::store(&served.store()).unwrap();
        served.finish(WorkerOutcome::Done { step: Step(0) });
        agent.join().unwrap();
    }
}
