//! Series of lines in an object store: cut into segments, each created once, merged as time goes by.
//!
//! An agent writes small segments, and makes one of many after an hour; what it leaves behind when it dies, the leader of
//! the next generation merges. So a run's folder holds some objects for each hour, however often it logs.

mod read;
mod series;
mod tidy;
mod writer;

pub use series::{EVENTS, LOGS, METRICS, Owner, SHELVES, Segment, Series, Shelf, TENSORBOARD, shelve};
pub use writer::{MERGE_AFTER, MERGE_BYTES, SegmentWriter};

use crate::{Generation, NodeId, Rank, Report, Step, number};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One logging interval, or one evaluation, of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
    /// The generation that measured it.
    pub generation: Generation,
    /// When.
    pub at: Timestamp,
    /// GPU-seconds that the run had used by then; none where it had used none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number::option")]
    pub gpu_seconds: Option<f64>,
}

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The generation at that time.
    pub generation: Generation,
    /// Where; none for the whole run.
    pub node: Option<NodeId>,
    /// The worker it concerns.
    pub rank: Option<Rank>,
    /// What sort, for scripts.
    pub kind: EventKind,
    /// What happened, for people.
    pub text: String,
    /// The step that it concerns, where it concerns one.
    pub step: Option<Step>,
    /// How long it took, where that matters: seconds from launch for a first step, from snapshot to commit for a checkpoint.
    pub seconds: Option<f64>,
    /// Where what it tells of lies: a checkpoint's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// Sorts of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An agent joined.
    Joined,
    /// A generation was committed.
    Formed,
    /// It goes on with what its ranks still hold, not from a checkpoint.
    Resumed,
    /// The first step of a launch was done.
    FirstStep,
    /// A fault that somebody asked for happens.
    Struck,
    /// A worker or node was lost.
    Lost,
    /// The first step after a fault was done.
    Recovered,
    /// A checkpoint was committed.
    Checkpoint,
    /// A checkpoint could not be written, or a damaged one was passed over.
    CheckpointProblem,
    /// Steps were skipped or training said something that a user must know.
    Warning,
    /// A GPU has an error, or is slowed down.
    Gpu,
    /// A stop was asked for.
    Stopping,
    /// The run ended.
    Ended,
    /// The cluster around it warned of something; told by the cluster, never stored.
    Cluster,
}

/// Joins metrics of all generations: a later generation wins a repeated step, evaluations join their step, also those that a later
/// generation made up for.
pub fn merge_metrics(lines: impl IntoIterator<Item = Metric>) -> Vec<Metric> {
    let mut by_step: BTreeMap<Step, Metric> = BTreeMap::new();
    for line in lines {
        match by_step.get_mut(&line.report.step) {
            Some(old) if old.generation > line.generation => {}
            Some(old) if old.generation == line.generation || line.report.loss.is_none() => {
                old.report.join(line.report);
                (old.at, old.gpu_seconds) = (old.at.max(line.at), line.gpu_seconds.or(old.gpu_seconds));
            }
            _ => {
                by_step.insert(line.report.step, line);
            }
        }
    }
    by_step.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(step: u64, generation: u64, loss: Option<f64>) -> Metric {
        let report = Report { step: Step(step), total_steps: Step(9), loss, ..Report::default() };
        Metric { report, generation: Generation(generation), at: Timestamp::UNIX_EPOCH, gpu_seconds: None }
    }

    #[test]
    fn a_later_generation_wins_a_repeated_step() {
        let mut eval = metric(2, 1, None);
        eval.report.eval.insert("accuracy".into(), 0.5);
        let lines = [
            metric(1, 1, Some(3.0)),
            metric(2, 1, Some(2.0)),
            eval,
            metric(2, 2, Some(1.0)),
            metric(2, 1, Some(9.0)),
        ];
        let merged = merge_metrics(lines[..3].to_vec());
        assert_eq!(
            (merged[1].report.loss, merged[1].report.eval["accuracy"]),
            (Some(2.0), 0.5),
            "an evaluation joins its step"
        );
        let mut made_up_for = metric(1, 2, None);
        made_up_for.report.eval.insert("accuracy".into(), 0.25);
        let merged = merge_metrics([metric(1, 1, Some(3.0)), made_up_for]);
        assert_eq!((merged[0].report.loss, merged[0].report.eval["accuracy"]), (Some(3.0), 0.25));
        let merged = merge_metrics(lines);
        assert_eq!(merged.iter().map(|m| m.report.loss).collect::<Vec<_>>(), [Some(3.0), Some(1.0)]);
        assert!(merged[1].report.eval.is_empty(), "nothing of the older generation is left");
    }
}
