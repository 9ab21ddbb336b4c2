//! What a client such as the `lockstep` command asks a run's leader.
//!
//! Whoever can read the run's storage has the key and may ask; nobody else gets an answer.

use crate::channel::Channel;
use crate::link::Phase;
use crate::{
    Account, ControlKey, Error, Generation, Gpu, Membership, NodeId, Progress, Result, RunDir, RunUid, number,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// First message on every connection, after the handshake: who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// An agent of the run; its own protocol follows.
    Agent,
    /// A client with one request.
    Client(Request),
}

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What the run does now.
    Status,
    /// Stop after a checkpoint.
    Cancel {
        /// Shown to the run's users.
        cause: String,
    },
}

/// What the leader of a living run knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The generation it leads.
    pub generation: Generation,
    /// What its workers do.
    pub phase: Phase,
    /// How far it is.
    pub progress: Progress,
    /// Nodes that are here.
    pub nodes_ready: u32,
    /// What GPUs do, by node; none where workers compute on none, or nobody can tell.
    pub gpus: BTreeMap<NodeId, Vec<Gpu>>,
    /// GPU-seconds that the run has used; none where it has used none.
    #[serde(with = "number::option")]
    pub gpu_seconds: Option<f64>,
    /// What the run's time has gone to, where that is known.
    pub account: Option<Account>,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// What the run does now.
    Status(Box<Live>),
    /// The request was taken; the run's record will say when it is done.
    Accepted,
    /// This agent lives but doesn't lead.
    NotLeader,
}

/// Asks the leader of the newest generation. `None` where nobody answers there, that is, the run does not live.
///
/// # Errors
/// [`Error::Deadline`] where something answers the port but not the request.
pub async fn ask(dir: &RunDir, request: Request, deadline: Duration) -> Result<Option<Reply>> {
    match dir.newest_membership().await? {
        Some(membership) => ask_leader(dir, &membership, request, deadline).await,
        None => Ok(None),
    }
}

/// As [`ask`], where the newest membership is known.
///
/// # Errors
/// As there.
pub async fn ask_leader(
    dir: &RunDir,
    newest: &Membership,
    request: Request,
    deadline: Duration,
) -> Result<Option<Reply>> {
    let Some(address) = newest.leader_address() else { return Ok(None) };
    ask_at(address, &newest.run_uid, &dir.key().await?, request, deadline).await
}

/// Asks the agent at `address`; `None` where none of this run answers there.
///
/// # Errors
/// [`Error::Deadline`] where something answers the port but not the request.
pub async fn ask_at(
    address: &str,
    run: &RunUid,
    key: &ControlKey,
    request: Request,
    deadline: Duration,
) -> Result<Option<Reply>> {
    let talk = async {
        let mut channel = match Channel::connect(address, run, key).await {
            Ok(channel) => channel,
            Err(late @ Error::Deadline { .. }) => return Err(late),
            Err(_) => return Ok(None),
        };
        channel.send(&Opening::Client(request)).await?;
        channel.recv::<Reply>().await
    };
    let late =
        || Error::Deadline { peer: address.to_owned(), what: "answer", seconds: deadline.as_secs_f64() };
    tokio::time::timeout(deadline, talk).await.map_err(|_| late())?
}
