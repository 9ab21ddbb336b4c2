//! Series of lines in an object store: cut into segments, each created once, merged by their readers.

use crate::layout::Series;
use crate::{Generation, NodeId, Rank, Result, RunDir, Step};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One logging interval, or one evaluation, of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The step that it was measured after.
    pub step: Step,
    /// Steps in all.
    pub total_steps: Step,
    /// Passes over the data so far, with a fraction.
    pub epoch: f64,
    /// Mean training loss since the last interval; none where only an evaluation is reported.
    pub loss: Option<f64>,
    /// Learning rate of the last update.
    pub lr: Option<f64>,
    /// Norm of the gradient before clipping.
    pub grad_norm: Option<f64>,
    /// Samples of the global batch per second since the last interval.
    pub samples_per_second: Option<f64>,
    /// Results of an evaluation by name, such as `accuracy`.
    pub eval: BTreeMap<String, f64>,
    /// The generation that measured it.
    pub generation: Generation,
    /// When.
    pub at: Timestamp,
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
    /// The first step of a launch was done.
    FirstStep,
    /// A worker or node was lost.
    Lost,
    /// A checkpoint was committed.
    Checkpoint,
    /// A checkpoint could not be written, or a damaged one was passed over.
    CheckpointProblem,
    /// Steps were skipped or training said something that a user must know.
    Warning,
    /// A stop was asked for.
    Stopping,
    /// The run ended.
    Ended,
    /// The cluster around it warned of something; told by the cluster, never stored.
    Cluster,
}

/// Collects lines and creates one object for each flush. One writer per series; sequence numbers never repeat.
#[derive(Debug)]
pub struct SegmentWriter {
    dir: RunDir,
    series: Series,
    seq: u32,
    pending: Vec<u8>,
}

impl SegmentWriter {
    /// An empty series.
    pub fn new(dir: RunDir, series: Series) -> Self {
        Self { dir, series, seq: 0, pending: Vec::new() }
    }

    /// Adds raw bytes to the segment that the next flush creates.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Adds one JSON line.
    pub fn push_json<T: Serialize>(&mut self, line: &T) {
        // These types hold no maps with foreign keys, so serialization can't fail.
        if let Ok(text) = serde_json::to_vec(line) {
            self.pending.extend_from_slice(&text);
            self.pending.push(b'\n');
        }
    }

    /// Bytes that wait for the next flush.
    pub fn num_pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Creates the object. Nothing happens where nothing waits; on an error the bytes stay for the next try.
    pub async fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let body = Bytes::copy_from_slice(&self.pending);
        self.dir.storage().put(&self.series.segment(self.seq), body).await?;
        self.seq += 1;
        self.pending.clear();
        Ok(())
    }
}

/// Joins metrics of all generations: a later generation wins a repeated step, evaluations join their step.
pub fn merge_metrics(lines: impl IntoIterator<Item = Metric>) -> Vec<Metric> {
    let mut by_step: BTreeMap<Step, Metric> = BTreeMap::new();
    for line in lines {
        match by_step.get_mut(&line.step) {
            Some(old) if old.generation > line.generation => {}
            Some(old) if old.generation == line.generation => join(old, line),
            _ => {
                by_step.insert(line.step, line);
            }
        }
    }
    by_step.into_values().collect()
}

fn join(old: &mut Metric, new: Metric) {
    old.loss = new.loss.or(old.loss);
    old.lr = new.lr.or(old.lr);
    old.grad_norm = new.grad_norm.or(old.grad_norm);
    old.samples_per_second = new.samples_per_second.or(old.samples_per_second);
    old.eval.extend(new.eval);
    old.at = old.at.max(new.at);
}

impl RunDir {
    /// The run's metrics, merged, in step order.
    pub async fn metrics(&self) -> Result<Vec<Metric>> {
        Ok(merge_metrics(self.json_lines::<Metric>("metrics").await?))
    }

    /// The run's events in order of time.
    pub async fn events(&self) -> Result<Vec<Event>> {
        let mut events: Vec<Event> = self.json_lines("events").await?;
        events.sort_by_key(|e| e.at);
        Ok(events)
    }

    async fn json_lines<T: for<'a> Deserialize<'a>>(&self, folder: &str) -> Result<Vec<T>> {
        let mut lines = Vec::new();
        for meta in self.storage().list(folder).await? {
            let body = self.storage().get(&meta.path).await?;
            for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                lines.push(self.parse(&meta.path, "series line", line)?);
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(step: u64, generation: u64, loss: Option<f64>) -> Metric {
        Metric {
            step: Step(step),
            total_steps: Step(9),
            epoch: 0.0,
            loss,
            lr: None,
            grad_norm: None,
            samples_per_second: None,
            eval: BTreeMap::new(),
            generation: Generation(generation),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_later_generation_wins_a_repeated_step() {
        let mut eval = metric(2, 1, None);
        eval.eval.insert("accuracy".into(), 0.5);
        let lines = [
            metric(1, 1, Some(3.0)),
            metric(2, 1, Some(2.0)),
            eval,
            metric(2, 2, Some(1.0)),
            metric(2, 1, Some(9.0)),
        ];
        let merged = merge_metrics(lines[..3].to_vec());
        assert_eq!(
            (merged[1].loss, merged[1].eval["accuracy"]),
            (Some(2.0), 0.5),
            "an evaluation joins its step"
        );
        let merged = merge_metrics(lines);
        assert_eq!(merged.iter().map(|m| m.loss).collect::<Vec<_>>(), [Some(3.0), Some(1.0)]);
        assert!(merged[1].eval.is_empty(), "nothing of the older generation is left");
    }
}
