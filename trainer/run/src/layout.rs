//! Where each thing of a run lies, relative to its folder. Names sort in the order in which they were made.

use crate::{Generation, Incarnation, NodeId, Step};

/// The run's identity and the resolved job of its first start.
pub const RUN: &str = "run.json";
/// 32 random bytes that key the control channel.
pub const CONTROL_KEY: &str = "control.key";
/// Folder of the membership records.
pub const MEMBERSHIP: &str = "membership";
/// Folder of the commit records.
pub const COMMITS: &str = "commits";
/// Folder of the checkpoints' files.
pub const CHECKPOINTS: &str = "checkpoints";

/// `membership/0000000003.json`
pub fn membership(generation: Generation) -> String {
    format!("{MEMBERSHIP}/{generation:010}.json")
}

/// `code/<digest>.tar.zst`
pub fn code(digest: &str) -> String {
    format!("code/{digest}.tar.zst")
}

/// `nodes/2`, the folder of a node's join records.
pub fn node(node: NodeId) -> String {
    format!("nodes/{node}")
}

/// `nodes/2/0001.json`
pub fn join(node_id: NodeId, incarnation: Incarnation) -> String {
    format!("{}/{incarnation:04}.json", node(node_id))
}

/// `commits/0000000400-3.json`
pub fn commit(step: Step, generation: Generation) -> String {
    format!("{COMMITS}/{step:010}-{generation}.json")
}

/// `checkpoints/0000000400-3-0`: step, generation, attempt.
pub fn checkpoint(step: Step, generation: Generation, attempt: u32) -> String {
    format!("{CHECKPOINTS}/{step:010}-{generation}-{attempt}")
}

/// Inverse of [`commit`] for a file name or a path; `None` for anything else.
pub fn parse_commit(path: &str) -> Option<(Step, Generation)> {
    let name = path.rsplit('/').next()?.strip_suffix(".json")?;
    let (step, generation) = name.split_once('-')?;
    Some((step.parse().ok()?, generation.parse().ok()?))
}

/// Number in the name of a record such as `membership/0000000003.json`.
pub fn parse_number(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

/// The kinds of segments: append-only series, each cut into objects that are created once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// `metrics/<generation>-<seq>.jsonl`
    Metrics(Generation),
    /// `events/<generation>-<node>-<incarnation>-<seq>.jsonl`
    Events(Generation, NodeId, Incarnation),
    /// `logs/<node>/<incarnation>-<seq>.log`
    Log(NodeId, Incarnation),
    /// `tensorboard/<generation>-<seq>.tfevents`; TensorBoard wants `tfevents` in the name.
    TensorBoard(Generation),
}

impl Series {
    /// The object that holds segment `seq` of this series.
    pub fn segment(self, seq: u32) -> String {
        match self {
            Series::Metrics(g) => format!("metrics/{g:010}-{seq:06}.jsonl"),
            Series::Events(g, node, inc) => format!("events/{g:010}-{node}-{inc:04}-{seq:06}.jsonl"),
            Series::Log(node, inc) => format!("logs/{node}/{inc:04}-{seq:06}.log"),
            Series::TensorBoard(g) => format!("tensorboard/{g:010}-{seq:06}.tfevents"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_number_and_parse_back() {
        assert!(membership(Generation(9)) < membership(Generation(10)));
        let path = commit(Step(400), Generation(12));
        assert_eq!(path, "commits/0000000400-12.json");
        assert_eq!(parse_commit(&path), Some((Step(400), Generation(12))));
        assert_eq!(parse_number(&membership(Generation(7))), Some(7));
        for bad in ["commits/x-1.json", "commits/1.json", "commits/1-1.tmp", ""] {
            assert_eq!(parse_commit(bad), None, "{bad}");
        }
    }
}
