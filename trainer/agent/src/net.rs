//! Connections between agents: who connects is known by its introduction, and everything it says goes to one queue.

use crate::health;
use crate::wire::{Introduction, LeaderMsg, MemberMsg};
use lockstep_run::channel::{Channel, Receiver, Sender};
use lockstep_run::control::{Opening, Reply, Request};
use lockstep_run::{ControlKey, RunUid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// A peer that doesn't say who it is by then is dropped.
const INTRODUCTION_DEADLINE: Duration = Duration::from_secs(2);
/// A peer that doesn't take a message for this long is as good as gone.
const SEND_DEADLINE: Duration = Duration::from_secs(5);
/// Connections that haven't shown the run's key yet. For one more the oldest is closed, so that strangers who call and say
/// nothing use up neither the agent's descriptors nor anybody's patience: who has the key shows it within a moment.
const MOST_STRANGERS: usize = 64;
/// Refused handshakes are told at most this often.
const TELL_REFUSED_EVERY: Duration = Duration::from_secs(60);
/// Messages that may wait for a slow peer before it is dropped.
const QUEUE: usize = 1024;

/// Tells one connection from the next of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

/// What arrives from other processes.
#[derive(Debug)]
pub enum Arrival {
    /// An agent connected to this one.
    Member(Introduction, ConnectionId, Outgoing<LeaderMsg>),
    /// It speaks.
    MemberSays(Introduction, ConnectionId, MemberMsg),
    /// Its connection is gone.
    MemberGone(Introduction, ConnectionId),
    /// The leader speaks.
    LeaderSays(ConnectionId, LeaderMsg),
    /// The connection to the leader is gone.
    LeaderGone(ConnectionId),
    /// A probe asks whether this agent is well, and what it does.
    Health(oneshot::Sender<String>),
    /// A client asks something.
    Client(Request, oneshot::Sender<Reply>),
}

/// What is to be sent on one connection. Dropping it closes the connection once all was sent.
#[derive(Debug)]
pub struct Outgoing<M> {
    queue: mpsc::Sender<M>,
    task: JoinHandle<()>,
}

impl<M> Outgoing<M> {
    /// Queues a message. A peer whose queue is full is so late that its silence will be noticed anyway.
    pub fn send(&self, message: M) {
        let _ = self.queue.try_send(message);
    }

    /// Sends what is queued, within a deadline, and closes the connection.
    pub async fn close(self) {
        drop(self.queue);
        let _ = timeout(SEND_DEADLINE, self.task).await;
    }
}

/// Makes connections for one agent.
#[derive(Debug, Clone)]
pub struct Net {
    run: RunUid,
    key: ControlKey,
    me: Introduction,
    arrivals: mpsc::Sender<Arrival>,
    next: Arc<AtomicU64>,
    refused: Arc<Mutex<Refused>>,
}

/// Handshakes that were refused since that was last told.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

impl Net {
    /// Everything that arrives goes to `arrivals`.
    pub fn new(run: RunUid, key: ControlKey, me: Introduction, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self { run, key, me, arrivals, next: Arc::default(), refused: Arc::default() }
    }

    fn id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Serves `listener` for ever, each connection in a task of its own.
    pub async fn listen(self, listener: TcpListener) {
        let mut strangers: VecDeque<(Arc<AtomicBool>, AbortHandle)> = VecDeque::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let known = Arc::new(AtomicBool::new(false));
                    let task = tokio::spawn(self.clone().serve(stream, known.clone()));
                    strangers.push_back((known, task.abort_handle()));
                }
                // Out of descriptors, say: give the others time to close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            if strangers.len() > MOST_STRANGERS {
                strangers.retain(|(known, task)| !known.load(Ordering::Relaxed) && !task.is_finished());
            }
            if strangers.len() > MOST_STRANGERS
                && let Some((_, oldest)) = strangers.pop_front()
            {
                oldest.abort();
            }
        }
    }

    /// `known` is set as soon as the peer has shown the key.
    async fn serve(self, stream: TcpStream, known: Arc<AtomicBool>) {
        let mut first = [0];
        match timeout(INTRODUCTION_DEADLINE, stream.peek(&mut first)).await {
            // Agents' messages begin with their length, which is below 2^24, so with a zero.
            Ok(Ok(1..)) if first == [b'G'] => return health::serve(stream, || self.ask_health()).await,
            Ok(Ok(1..)) => {}
            // Who connects, says nothing and leaves is no peer that was refused.
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        let opened = async {
            let mut channel = Channel::accept(stream, &self.run, &self.key).await?;
            let opening = channel.recv::<Opening>().await?;
            Ok::<_, lockstep_run::Error>((channel, opening))
        };
        let opened = timeout(INTRODUCTION_DEADLINE, opened).await;
        known.store(matches!(opened, Ok(Ok(_))), Ordering::Relaxed);
        match opened {
            Ok(Ok((channel, Some(Opening::Agent)))) => self.serve_member(channel).await,
            Ok(Ok((channel, Some(Opening::Client(request))))) => self.serve_client(channel, request).await,
            Ok(Ok((_, None))) | Err(_) => {}
            Ok(Err(e)) => self.tell_refused(&e),
        }
    }

    /// Counts a refused handshake; a log full of them would hide everything else.
    fn tell_refused(&self, error: &lockstep_run::Error) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.told.is_none_or(|told| told.elapsed() >= TELL_REFUSED_EVERY) {
            tracing::warn!(count = refused.count, last = %error, "refused connections");
            *refused = Refused { count: 0, told: Some(Instant::now()) };
        }
    }

    async fn serve_member(self, mut channel: Channel) {
        let Ok(Ok(Some(who))) = timeout(INTRODUCTION_DEADLINE, channel.recv::<Introduction>()).await else {
            return;
        };
        let (id, (receiver, sender)) = (self.id(), channel.split());
        let outgoing = spawn_sender(sender);
        if self.arrivals.send(Arrival::Member(who, id, outgoing)).await.is_ok() {
            pump(receiver, &self.arrivals, |msg| Arrival::MemberSays(who, id, msg)).await;
            let _ = self.arrivals.send(Arrival::MemberGone(who, id)).await;
        }
    }

    async fn ask_health(&self) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        self.arrivals.send(Arrival::Health(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn serve_client(self, mut channel: Channel, request: Request) {
        let (reply, answer) = oneshot::channel();
        if self.arrivals.send(Arrival::Client(request, reply)).await.is_ok()
            && let Ok(Ok(answer)) = timeout(SEND_DEADLINE, answer).await
        {
            let _ = timeout(SEND_DEADLINE, channel.send(&answer)).await;
        }
    }

    /// Connects to the agent at `address` as a member.
    pub async fn dial(&self, address: &str) -> lockstep_run::Result<(ConnectionId, Outgoing<MemberMsg>)> {
        let mut channel = Channel::connect(address, &self.run, &self.key).await?;
        channel.send(&Opening::Agent).await?;
        channel.send(&self.me).await?;
        let (id, (receiver, sender)) = (self.id(), channel.split());
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            pump(receiver, &arrivals, |msg| Arrival::LeaderSays(id, msg)).await;
            let _ = arrivals.send(Arrival::LeaderGone(id)).await;
        });
        Ok((id, spawn_sender(sender)))
    }
}

async fn pump<M: DeserializeOwned>(
    mut from: Receiver,
    to: &mpsc::Sender<Arrival>,
    wrap: impl Fn(M) -> Arrival,
) {
    loop {
        match from.recv::<M>().await {
            Ok(Some(message)) => {
                if to.send(wrap(message)).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(e) => return tracing::warn!(error = %e, "closed a connection"),
        }
    }
}

fn spawn_sender<M: Serialize + Send + Sync + 'static>(mut sender: Sender) -> Outgoing<M> {
    let (queue, mut messages) = mpsc::channel::<M>(QUEUE);
    let task = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            match timeout(SEND_DEADLINE, sender.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    });
    Outgoing { queue, task }
}
