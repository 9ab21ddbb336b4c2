use crate::{Generation, NodeId, Part, Rank, Step};
use serde::{Deserialize, Serialize};

/// So many steps are traced at a time at most.
pub const MOST_TRACED_STEPS: u32 = 100;

/// `traces/<number>/<rank>.json`: what a rank did in some steps, for the request of that number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The rank.
    pub rank: Rank,
    /// Its node.
    pub node: NodeId,
    /// The address of the node. Who shares it shares a clock.
    pub host: String,
    /// The generation.
    pub generation: Generation,
    /// What it did.
    pub recorded: Recorded,
}

/// Some steps of one rank, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// When that began by the rank's own clock, in nanoseconds since 1970.
    pub begin_unix_ns: u64,
    /// The steps.
    pub steps: Vec<TracedStep>,
}

/// One step of one rank. It lasts until its last span is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedStep {
    /// Its number.
    pub step: Step,
    /// When it began, in nanoseconds since [`Recorded::begin_unix_ns`].
    pub begin_ns: u64,
    /// When the rank had the average of all ranks' gradients, in nanoseconds since the step began: nearly the same moment on
    /// each of them.
    pub reduced_ns: Option<u64>,
    /// What it did, without gaps.
    pub spans: Vec<Span>,
}

/// Some time of one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// What it went to.
    pub activity: Activity,
    /// Which micro batch of the step that was for, where it was for one.
    pub micro_batch: Option<u32>,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// What a rank does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// [`Part::Data`].
    Data,
    /// [`Part::Forward`].
    Forward,
    /// [`Part::Backward`].
    Backward,
    /// [`Part::Communication`].
    Communication,
    /// [`Part::Optimizer`].
    Optimizer,
    /// [`Part::Other`], without checkpoints.
    Other,
    /// The copy for a checkpoint, with what the ranks agree on before it.
    Checkpoint,
    /// An evaluation, which is no part of a step.
    Evaluation,
}

impl From<Part> for Activity {
    fn from(part: Part) -> Self {
        match part {
            Part::Data => Self::Data,
            Part::Forward => Self::Forward,
            Part::Backward => Self::Backward,
            Part::Communication => Self::Communication,
            Part::Optimizer => Self::Optimizer,
            Part::Other => Self::Other,
        }
    }
}

impl Activity {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => Part::Data.name(),
            Self::Forward => Part::Forward.name(),
            Self::Backward => Part::Backward.name(),
            Self::Communication => Part::Communication.name(),
            Self::Optimizer => Part::Optimizer.name(),
            Self::Other => Part::Other.name(),
            Self::Checkpoint => "checkpoint",
            Self::Evaluation => "evaluation",
        }
    }
}

impl TracedStep {
    /// How long it took, in nanoseconds.
    pub fn ns(&self) -> u64 {
        self.spans.iter().fold(0, |sum, span| sum.saturating_add(span.ns))
    }
}
