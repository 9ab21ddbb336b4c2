//! The agents' own status lines: one JSON object a line on standard output, among the workers' log lines.
//!
//! It is the one channel that always works: `launch` reads it from the pipe of a local agent or from a pod's log.

use crate::link::Phase;
use crate::segment::Event;
use crate::{Account, Generation, GpuOfNode, Rank, Report, Step, number};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// After so many lines that workers printed, rank 0's node says again where the run stands.
pub const STANDING_EVERY: u32 = 100;

/// A checkpoint that was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its step.
    pub step: Step,
    /// Full URI of its folder.
    pub uri: String,
    /// When it was committed.
    pub at: Timestamp,
}

/// One status line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "lockstep", rename_all = "snake_case")]
pub enum Line {
    /// Rank 0's node: a logging interval or an evaluation.
    Progress {
        /// The generation.
        generation: Generation,
        /// How often a fault made a new generation.
        restarts: u32,
        /// The newest checkpoint of this launch.
        checkpoint: Option<Saved>,
        /// What rank 0 reported.
        #[serde(flatten)]
        report: Report,
    },
    /// Rank 0's node: where the run stands. Said when a generation's workers start, and after [`STANDING_EVERY`] lines that they
    /// printed, so that the end of a log tells it however much they print.
    Standing {
        /// The generation.
        generation: Generation,
        /// How often a fault made a new generation.
        restarts: u32,
        /// What rank 0 does.
        phase: Phase,
        /// The newest checkpoint of this launch, at the last report.
        checkpoint: Option<Saved>,
        /// What rank 0 last reported; a command reports nothing.
        progress: Option<Report>,
    },
    /// The leader: what GPUs do. Said once a minute, and with each [`Line::Standing`].
    Gpus {
        /// The generation.
        generation: Generation,
        /// GPU-seconds that the run has used.
        #[serde(with = "number")]
        gpu_seconds: f64,
        /// In node order.
        gpus: Vec<GpuOfNode>,
    },
    /// The leader: what the run's time has gone to. Said once a minute, and with each [`Line::Standing`].
    Account {
        /// The generation.
        generation: Generation,
        /// Its workers that were in the one before.
        survivors: u32,
        /// Since the run's first step.
        account: Account,
    },
    /// Something happened.
    Event(Event),
    /// What the agent has been waiting for, and for how long.
    Waiting {
        /// In words.
        reason: String,
        /// Seconds.
        seconds: u64,
    },
    /// A line that a worker printed.
    Log {
        /// The worker.
        rank: Rank,
        /// Its text, without the line's end.
        text: String,
    },
}

impl Line {
    /// The line's text, without its end.
    pub fn to_text(&self) -> String {
        // Strings, numbers and maps with string keys: serialization can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a line back; `None` for what is not a status line.
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with("{\"lockstep\"").then(|| serde_json::from_str(text).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gpu, NodeId, Slowdown, SlowestRank, StepSeconds};

    #[test]
    fn lines_read_back_and_other_text_is_left_alone() {
        let report = Report {
            step: Step(3),
            total_steps: Step(9),
            epoch: 0.5,
            loss: Some(0.25),
            lr: None,
            grad_norm: None,
            loss_scale: Some(65536.0),
            samples_per_second: Some(1e4),
            tokens_per_second: None,
            mfu: Some(0.25),
            step_seconds: Some(StepSeconds { data: 1e-3, other: 1.0 / 3.0, ..StepSeconds::default() }),
            slowest_rank: Some(SlowestRank { rank: Rank(1), work_seconds: 0.5 }),
            eval: [("accuracy".to_owned(), 0.5)].into(),
        };
        let saved = Saved { step: Step(2), uri: "s3://b/c".to_owned(), at: Timestamp::UNIX_EPOCH };
        let line = Line::Progress { generation: Generation(1), restarts: 2, checkpoint: Some(saved), report };
        let standing = Line::Standing {
            generation: Generation(1),
            restarts: 0,
            phase: Phase::Training,
            checkpoint: None,
            progress: None,
        };
        let gpu =
            Gpu { index: Some(3), xids: vec![79], slowed_by: vec![Slowdown::PowerCap], ..Gpu::default() };
        let gpus = vec![GpuOfNode { node: NodeId(1), gpu }];
        let gpus = Line::Gpus { generation: Generation(1), gpu_seconds: 0.5, gpus };
        for line in [line, standing, gpus] {
            assert_eq!(Line::parse(&line.to_text()), Some(line));
        }
        for other in ["", "loss 0.3", "{\"lockstep\"", "{\"a\":1}"] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }
}
