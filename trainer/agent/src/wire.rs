//! What agents say to the leader and back, over the control channel.
//!
//! Every message carries its generation where it concerns one; the run is fixed by the handshake and the incarnation by
//! the first message. Records travel as their JSON text.

use lockstep_run::link::{Phase, StoreOp, StoreReply, TraceOrder, WorkerOutcome};
use lockstep_run::{Account, Generation, Gpu, Incarnation, MOST_RANKS_OF_A_NODE, NodeId, Rank, Step, Strike};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Follows [`lockstep_run::control::Opening::Agent`] and says who speaks on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The node.
    pub node: NodeId,
    /// This life of its agent.
    pub incarnation: Incarnation,
}

/// What a node brings into a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// `host:port` of its control channel.
    pub address: String,
    /// Number of workers, at most [`MOST_RANKS_OF_A_NODE`].
    #[serde(deserialize_with = "num_ranks")]
    pub num_ranks: u32,
    /// A port that is free on it.
    pub free_port: u16,
    /// Its workers that wait, with what they hold, for the next generation.
    pub survivors: u32,
    /// What the run's time has gone to, where this node took part in it.
    pub account: Option<Box<Account>>,
}

fn num_ranks<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        num if num <= MOST_RANKS_OF_A_NODE => Ok(num),
        num => Err(D::Error::custom(format!("a node can't have {num} workers"))),
    }
}

/// What a worker last said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The worker.
    pub rank: Rank,
    /// Steps done.
    pub step: Step,
    /// What it does.
    pub phase: Phase,
}

/// From a member to its leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MemberMsg {
    /// No worker of mine runs; take me into the next generation.
    Join {
        /// What it brings.
        offer: Offer,
        /// The newest generation that it has heard of.
        known: Generation,
        /// Set where this node was asked to stop, and why.
        stop: Option<String>,
    },
    /// I live, and so do these workers.
    Heartbeat {
        /// The generation that it runs, 0 while it waits.
        generation: Generation,
        /// Its workers.
        beats: Vec<Beat>,
    },
    /// A user's own command gets on.
    GetsOn {
        /// Its generation.
        generation: Generation,
    },
    /// A worker's request to the key-value store.
    Store {
        /// The worker's generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// Pairs the reply.
        id: u64,
        /// The request.
        op: StoreOp,
    },
    /// A worker's answer to a hold.
    Held {
        /// The worker's generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// The request that it answers.
        ask: u64,
        /// The last step that it has started.
        started: Step,
    },
    /// A worker said its last word.
    Finished {
        /// The worker's generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// Its last word.
        outcome: WorkerOutcome,
    },
    /// A worker is gone without a last word.
    Lost {
        /// The worker's generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// How, such as "killed by SIGKILL".
        cause: String,
    },
    /// This node was asked to stop.
    Stop {
        /// By whom or what.
        cause: String,
    },
    /// What the GPUs of my workers do.
    Gpus {
        /// The workers' generation.
        generation: Generation,
        /// All of this node.
        gpus: Vec<Gpu>,
    },
}

fn as_text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(from).map(Arc::from)
}

/// From the leader to a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaderMsg {
    /// Answers a heartbeat.
    Ack,
    /// I don't lead.
    NotLeader,
    /// Your stop is noted and nothing of yours is needed any more: leave, a later launch or pod carries on.
    Leave,
    /// A membership record was committed: start its workers, or leave where it ends the run.
    Committed {
        /// The record as JSON; one text for all members, each of which it names.
        #[serde(serialize_with = "as_text", deserialize_with = "shared")]
        record: Arc<str>,
    },
    /// The generation is over: kill its workers and join again.
    Revoke {
        /// The generation.
        generation: Generation,
        /// Why.
        reason: String,
    },
    /// Do this to a process of yours.
    Strike {
        /// The generation that is meant.
        generation: Generation,
        /// What, and to whom.
        strike: Strike,
        /// Who asked.
        by: String,
    },
    /// Answers a store request.
    StoreReply {
        /// The worker.
        rank: Rank,
        /// The request.
        id: u64,
        /// What came of it.
        reply: StoreReply,
    },
    /// For every worker: start no step after this one until told more.
    HoldAt {
        /// The generation.
        generation: Generation,
        /// Pairs the answers.
        ask: u64,
        /// The step.
        step: Step,
    },
    /// For every worker: this is the last step.
    StopAt {
        /// The generation.
        generation: Generation,
        /// The step.
        step: Step,
        /// Why.
        reason: String,
        /// The run ends with it, rather than some nodes' part in it.
        ends_run: bool,
    },
    /// For the worker of rank 0: somebody wants a trace.
    Trace {
        /// The generation.
        generation: Generation,
        /// What is wanted.
        order: TraceOrder,
    },
}
