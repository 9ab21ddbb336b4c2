//! What a worker and the agent of its node say to each other over a Unix socket.
//!
//! Frames are length-delimited postcard. The agent names the socket in [`ENV`]; the worker connects, says
//! [`WorkerMsg::Hello`], and gets [`AgentMsg::Start`]. From then on each side sends whenever it has something to say. A generation
//! ends for a worker that outlives it with [`WorkerMsg::Left`]; the next one begins with another `Start`.
//! A closed socket means that the other side is gone: the worker then leaves at once.

use crate::{
    Error, Generation, GpuUuid, NodeId, Provenance, Rank, Recorded, Report, Result, RunUid, StartFrom, Step,
};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Environment variable that names the socket.
pub const ENV: &str = "LOCKSTEP_LINK";

/// From the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerMsg {
    /// First message.
    Hello {
        /// The worker's process id.
        pid: u32,
        /// Which of the node's workers it is.
        local_rank: u32,
    },
    /// Sent at the heartbeat interval by a thread of its own, so a stopped process is noticed.
    Heartbeat {
        /// Steps done.
        step: Step,
        /// What it does now; each phase has its own budget.
        phase: Phase,
    },
    /// A request to the generation's key-value store.
    Store {
        /// Pairs the reply.
        id: u64,
        /// What to do.
        op: StoreOp,
    },
    /// Rank 0: one logging interval or evaluation.
    Report(Box<Report>),
    /// Rank 0: a checkpoint was committed.
    CheckpointCommitted {
        /// Its step.
        step: Step,
        /// Full URI of its folder.
        uri: String,
        /// Size of its files.
        num_bytes: u64,
        /// From snapshot to commit.
        seconds: f64,
    },
    /// Rank 0: a checkpoint could not be written, or a damaged one was passed over at load.
    CheckpointProblem {
        /// Its step.
        step: Step,
        /// What happened and what was done instead.
        text: String,
    },
    /// Answer to [`AgentMsg::HoldAt`].
    Held {
        /// The request.
        ask: u64,
        /// The last step that this worker has started. Greater than what was asked for means "too late, ask higher".
        started: Step,
    },
    /// The steps that [`AgentMsg::Trace`] asked for, all at once; fewer where training ended before.
    Traced {
        /// The request.
        number: u64,
        /// What this rank did.
        recorded: Recorded,
    },
    /// All ranks agreed to compute on GPUs, and this one takes its own.
    Computes {
        /// What the driver calls it; none where it doesn't tell.
        gpu: Option<GpuUuid>,
    },
    /// Rank 0: the generation goes on from a step whose state was in its ranks' memory, not in a checkpoint.
    Resumed {
        /// The step.
        step: Step,
        /// Who had it, and gave it to those that had none as new.
        source: Rank,
    },
    /// Something a user must know.
    Warning(String),
    /// Last message of a generation that doesn't go on; this process does. It holds what it has trained, and waits for the next
    /// [`AgentMsg::Start`].
    Left(WorkerOutcome),
    /// Last message.
    Finished(WorkerOutcome),
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// From exec to the end of rendezvous.
    #[default]
    Starting,
    /// Getting the state that the generation begins with.
    Loading,
    /// Between starting and the end of the first step.
    FirstStep,
    /// Training.
    Training,
    /// Evaluating.
    Evaluating,
    /// Waiting for a checkpoint.
    Saving,
}

impl Phase {
    /// Whether the step that a worker tells is none that it holds yet.
    pub fn is_before_training(self) -> bool {
        matches!(self, Self::Starting | Self::Loading)
    }
}

/// Why a worker leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerOutcome {
    /// Every step was done, the last checkpoint is committed.
    Done {
        /// Number of steps.
        step: Step,
    },
    /// Stopped as agreed, its state is committed.
    Stopped {
        /// After this step.
        step: Step,
    },
    /// Can't go on.
    Failed(Failure),
}

/// A worker's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Decides whether it is tried again.
    pub kind: FailureKind,
    /// The whole error, with its facts and the way out.
    pub message: String,
}

/// Sorts of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A peer is gone: form anew, this worker is not to blame.
    PeerLost,
    /// The data is missing or bad.
    Data,
    /// The job can't be run as written.
    Spec,
    /// Loss or gradient is not finite and the policy says stop.
    NonFinite,
    /// Storage failed for good.
    Storage,
    /// A defect.
    Bug,
}

impl FailureKind {
    /// True where trying again can't help.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Data | Self::Spec | Self::NonFinite | Self::Storage)
    }
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgentMsg {
    /// First message of each generation.
    Start(Box<Start>),
    /// Answer to [`WorkerMsg::Store`].
    StoreReply {
        /// The request.
        id: u64,
        /// What came of it.
        reply: StoreReply,
    },
    /// Don't start any step after `step` until told more; answer with [`WorkerMsg::Held`].
    HoldAt {
        /// Pairs the answer.
        ask: u64,
        /// The last step that may be started.
        step: Step,
    },
    /// Every rank holds: finish `step`, save, leave with [`WorkerOutcome::Stopped`].
    StopAt {
        /// The last step.
        step: Step,
        /// Who or what asked.
        reason: String,
        /// The run ends with it. Where only some nodes leave, the others' workers stay for the next generation.
        ends_run: bool,
    },
    /// The generation is over: leave whatever is under way, and answer with [`WorkerMsg::Left`].
    Revoke,
    /// To rank 0: all ranks record their next steps, from one that they agree on, and answer with [`WorkerMsg::Traced`].
    Trace(TraceOrder),
}

/// A trace that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceOrder {
    /// Number of the request.
    pub number: u64,
    /// How many steps.
    pub steps: u32,
}

/// Which GPUs of its machine a node's workers take: one each, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// How many the node was promised, as a pod is; 0 where nobody promised any.
    pub promised: u32,
    /// The number of the first one. Nodes of a local run share a machine.
    pub first: u32,
}

/// All that a worker needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The run.
    pub run_uid: RunUid,
    /// The generation.
    pub generation: Generation,
    /// This worker's rank.
    pub rank: Rank,
    /// Number of workers in all.
    pub world_size: u32,
    /// Which of the node's workers it is.
    pub local_rank: u32,
    /// Number of workers of the node.
    pub local_world_size: u32,
    /// The node.
    pub node: NodeId,
    /// The life of the node's agent.
    pub incarnation: crate::Incarnation,
    /// Address on which this node's workers are reached by the others.
    pub host: String,
    /// URI of the run's folder.
    pub run_dir: String,
    /// The resolved job, as JSON text.
    pub job: String,
    /// What to load.
    pub start_from: StartFrom,
    /// Which GPUs of its machine the node's workers take.
    #[serde(default)]
    pub gpus: Gpus,
    /// When the user typed the command.
    pub launched_at_unix_ms: u64,
    /// A folder of the node that outlives workers: the dataset cache lies there.
    pub scratch: PathBuf,
    /// Version of the agent.
    pub agent_version: String,
    /// What the agent knows of where a checkpoint is from; the worker fills in the rest.
    pub provenance: Provenance,
}

/// Operations of the key-value store that c10d expects; waits are bounded by their timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOp {
    /// Sets a value.
    Set {
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
    },
    /// Waits for a value and returns it.
    Get {
        /// Key.
        key: String,
        /// How long.
        timeout_ms: u64,
    },
    /// Adds to a decimal counter and returns the sum.
    Add {
        /// Key.
        key: String,
        /// Summand.
        delta: i64,
    },
    /// Sets the value if it is what is expected (empty: absent); returns what holds afterwards.
    CompareSet {
        /// Key.
        key: String,
        /// Expected value.
        expected: Vec<u8>,
        /// New value.
        desired: Vec<u8>,
    },
    /// True where all keys exist.
    Check {
        /// Keys.
        keys: Vec<String>,
    },
    /// Waits until all keys exist.
    Wait {
        /// Keys.
        keys: Vec<String>,
        /// How long.
        timeout_ms: u64,
    },
    /// Deletes a key; true where it existed.
    Delete {
        /// Key.
        key: String,
    },
}

/// What came of a [`StoreOp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreReply {
    /// Done.
    Done,
    /// A value.
    Value(Vec<u8>),
    /// A sum.
    Sum(i64),
    /// A truth value.
    Truth(bool),
    /// The keys did not appear in time.
    Timeout,
    /// The store is gone, for instance because the generation is over.
    Refused(String),
}

/// Largest frame; rendezvous values are a few hundred bytes, a resolved job a few thousand.
const MAX_FRAME_BYTES: usize = 8 << 20;

/// The receiving half of a link.
#[derive(Debug)]
pub struct Receiver<S>(FramedRead<ReadHalf<S>, LengthDelimitedCodec>);

/// The sending half of a link.
#[derive(Debug)]
pub struct Sender<S>(FramedWrite<WriteHalf<S>, LengthDelimitedCodec>);

/// Cuts a stream into frames.
pub fn split<S: AsyncRead + AsyncWrite>(stream: S) -> (Receiver<S>, Sender<S>) {
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
    let (read, write) = tokio::io::split(stream);
    (Receiver(FramedRead::new(read, codec.clone())), Sender(FramedWrite::new(write, codec)))
}

impl<S: AsyncRead> Receiver<S> {
    /// The next message; `None` once the other side is gone. Safe to drop while it waits.
    pub async fn recv<M: DeserializeOwned>(&mut self) -> Result<Option<M>> {
        match self.0.next().await {
            None => Ok(None),
            Some(Err(e)) => Err(Error::channel("link", e)),
            Some(Ok(frame)) => decode(&frame).map(Some),
        }
    }
}

impl<S: AsyncWrite> Sender<S> {
    /// Sends a message.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<()> {
        self.0.send(encode(message)?).await.map_err(|e| Error::channel("link", e))
    }
}

pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Bytes> {
    postcard::to_stdvec(message).map(Bytes::from).map_err(|e| Error::channel("encoder", e))
}

pub(crate) fn decode<M: DeserializeOwned>(frame: &BytesMut) -> Result<M> {
    postcard::from_bytes(frame).map_err(|e| Error::channel("decoder", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_and_garbage_is_an_error() {
        let (a, b) = tokio::io::duplex(1 << 16);
        let (mut from_a, _) = split(b);
        let (_keep, mut to_b) = split(a);
        let sent = WorkerMsg::Store { id: 7, op: StoreOp::Add { key: "k".into(), delta: -2 } };
        to_b.send(&sent).await.unwrap();
        assert_eq!(from_a.recv::<WorkerMsg>().await.unwrap(), Some(sent));
        to_b.send(&"not a worker message").await.unwrap();
        assert!(from_a.recv::<WorkerMsg>().await.is_err());
        drop((_keep, to_b));
        assert_eq!(from_a.recv::<WorkerMsg>().await.unwrap(), None);
    }
}
