use crate::{Account, CommitRef, Generation, Incarnation, NodeId, Rank, RunUid};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `membership/<generation>.json`: the run's log of truth. The highest generation is what holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The run it belongs to.
    pub run_uid: RunUid,
    /// This generation.
    pub generation: Generation,
    /// Who wrote it.
    pub writer: Writer,
    /// The launch that it belongs to, so that `--fresh` or `--resume STEP` is obeyed once in each launch.
    pub launch: String,
    /// When that launch was asked for, as far as its agents know. None in format 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Timestamp>,
    /// How often a fault has made a new generation of this run. None in format 0: then all records before it tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// And since that launch.
    #[serde(default)]
    pub launch_restarts: u32,
    /// The generation at which this lineage began from nothing. None in format 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Generation>,
    /// GPU-seconds that the run had used before; none where it had used none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<f64>,
    /// What the run's time has gone to; none before its first step, and where steps aren't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// Workers that were in the generation before, and hold what they have trained.
    #[serde(default)]
    pub survivors: u32,
    /// When.
    pub at: Timestamp,
    /// Why the generation before ended, in words a user understands.
    pub reason: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// A generation either runs or ends the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Body {
    /// These nodes train.
    Formed {
        /// In node order; ranks are dealt in this order.
        #[serde(deserialize_with = "members")]
        members: Vec<Member>,
        /// The node that serves this generation.
        leader: NodeId,
        /// What the workers load.
        start_from: StartFrom,
        /// The resolved job that holds from here on.
        job: serde_json::Value,
        /// True where a fault ended the generation before; false at a launch.
        restart: bool,
    },
    /// The run is over, until it is launched again.
    Ended {
        /// How.
        outcome: Outcome,
        /// The generation that ended; its commits stay the run's newest.
        previous: Generation,
    },
}

/// One node of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The life of its agent that takes part.
    pub incarnation: Incarnation,
    /// `host:port` of its agent's control channel.
    pub address: String,
    /// Its workers.
    pub ranks: Vec<Rank>,
    /// A port that was free on the node when it joined: MASTER_PORT, where the node holds rank 0.
    pub free_port: u16,
}

impl Member {
    /// Number of its workers.
    pub fn num_ranks(&self) -> u32 {
        self.ranks.len() as u32
    }
}

/// No node has more workers; a record that says so is damaged.
pub const MOST_RANKS_OF_A_NODE: u32 = 1 << 12;

/// Format 0 tells how many workers a member has, and not which.
fn members<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Member>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Any {
        node: NodeId,
        incarnation: Incarnation,
        address: String,
        ranks: Option<Vec<Rank>>,
        num_ranks: Option<u32>,
        free_port: u16,
    }
    let mut first = 0_u32;
    let deal = |any: Any| {
        let num = any.num_ranks.filter(|num| *num <= MOST_RANKS_OF_A_NODE);
        let ranks: Vec<_> = match (any.ranks, num.and_then(|num| first.checked_add(num))) {
            (Some(ranks), _) => ranks,
            (None, Some(end)) => (first..end).map(Rank).collect(),
            (None, None) => return Err(D::Error::custom(format!("node {} has no ranks", any.node))),
        };
        first = first.saturating_add(ranks.len() as u32);
        let Any { node, incarnation, address, free_port, .. } = any;
        Ok(Member { node, incarnation, address, ranks, free_port })
    };
    Vec::<Any>::deserialize(from)?.into_iter().map(deal).collect()
}

/// What a generation's workers load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartFrom {
    /// Nothing: initialise from the seed.
    Fresh,
    /// The parameters of another run, and else nothing: step 0.
    Warm(WarmFrom),
    /// This commit, or the one before it in its lineage where this one turns out to be damaged.
    Commit(CommitRef),
    /// The state after this step, of which the members hold snapshots; where they don't, the newest commit up to it.
    Local(CommitRef),
    /// Published weights, and else nothing: step 0.
    Weights(WeightsFrom),
}

impl StartFrom {
    /// The commit of this run that it names.
    pub fn commit(&self) -> Option<CommitRef> {
        match self {
            Self::Commit(commit) | Self::Local(commit) => Some(*commit),
            Self::Fresh | Self::Warm(_) | Self::Weights(_) => None,
        }
    }
}

/// A checkpoint of another run of the same storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmFrom {
    /// The other run's name.
    pub run: String,
    /// Its checkpoint.
    pub checkpoint: CommitRef,
}

/// Safetensors files that somebody published, and what was in them when they were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsFrom {
    /// URI of the folder that holds them.
    pub folder: String,
    /// By their names.
    pub files: BTreeMap<String, WeightsFile>,
}

/// The content of one such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsFile {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of the whole, as `b3sum` prints it.
    pub blake3: String,
}

impl fmt::Display for WeightsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.trim_end_matches('/');
        match self.files.keys().next() {
            Some(name) if self.files.len() == 1 => write!(f, "{folder}/{name}"),
            _ => write!(f, "{folder} ({} files)", self.files.len()),
        }
    }
}

impl fmt::Display for StartFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartFrom::Fresh => f.write_str("step 0"),
            StartFrom::Warm(WarmFrom { run, checkpoint }) => {
                write!(f, "step 0, with the parameters of {run} at step {}", checkpoint.step)
            }
            StartFrom::Weights(weights) => write!(f, "step 0, with the weights of {weights}"),
            StartFrom::Commit(c) => write!(f, "checkpoint {}", c.step),
            StartFrom::Local(c) => write!(f, "the members' snapshots of step {}", c.step),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Every step was done.
    Done,
    /// Stopped on request after a checkpoint; a launch carries on.
    Stopped {
        /// Who or what asked.
        cause: String,
        /// True where the launch is over with it; false where its nodes were told to leave one by one, as when a Job is
        /// suspended or machines are drained: a node of that launch that comes back carries on.
        for_good: bool,
    },
    /// It can't go on.
    Failed {
        /// The error, with its facts and the way out.
        error: String,
    },
}

/// Identity of a process that writes records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// Its node.
    pub node: NodeId,
    /// Its agent's life.
    pub incarnation: Incarnation,
    /// Drawn once by each process.
    pub nonce: u64,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} incarnation {} ({:016x})", self.node, self.incarnation, self.nonce)
    }
}

impl Membership {
    /// The members, empty for a run that ended.
    pub fn members(&self) -> &[Member] {
        match &self.body {
            Body::Formed { members, .. } => members,
            Body::Ended { .. } => &[],
        }
    }

    /// Address of the leader's control channel.
    pub fn leader_address(&self) -> Option<&str> {
        let Body::Formed { members, leader, .. } = &self.body else { return None };
        members.iter().find(|m| m.node == *leader).map(|m| m.address.as_str())
    }

    /// Whether a fault made this generation.
    pub fn is_restart(&self) -> bool {
        matches!(self.body, Body::Formed { restart: true, .. })
    }

    /// How the run ended, if it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.body {
            Body::Formed { .. } => None,
            Body::Ended { outcome, .. } => Some(outcome),
        }
    }
}
