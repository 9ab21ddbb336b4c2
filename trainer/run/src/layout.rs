//! Where each thing of a run lies, relative to its folder. Names sort in the order in which they were made, and what isn't
//! named like this is somebody else's: it is passed over.

use crate::{Generation, Incarnation, NodeId, Rank, Step};

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
/// Folder of the join records.
pub const NODES: &str = "nodes";
/// Folder of what is asked of the live run.
pub const REQUESTS: &str = "requests";
/// Folder of the ranks' traces.
pub const TRACES: &str = "traces";

/// `membership/0000000003.json`
pub fn membership(generation: Generation) -> String {
    format!("{MEMBERSHIP}/{generation:010}.json")
}

/// `launches/<launch>.json`, what is known of a launch once its first step is done.
pub fn launch(launch: &str) -> String {
    format!("launches/{launch}.json")
}

/// `code/<digest>.tar.zst`
pub fn code(digest: &str) -> String {
    format!("code/{digest}.tar.zst")
}

/// `requests/0000000001.json`
pub fn request(number: u64) -> String {
    format!("{REQUESTS}/{number:010}.json")
}

/// `traces/0000000001`, the folder of the traces that a request asked for.
pub fn traces(number: u64) -> String {
    format!("{TRACES}/{number:010}")
}

/// `traces/0000000001/000003.json`
pub fn trace(number: u64, rank: Rank) -> String {
    format!("{}/{rank:06}.json", traces(number))
}

/// `nodes/2`, the folder of a node's join records.
pub fn node(node: NodeId) -> String {
    format!("{NODES}/{node}")
}

/// `nodes/2/0001.json`
pub fn join(node_id: NodeId, incarnation: Incarnation) -> String {
    format!("{}/{incarnation:04}.json", node(node_id))
}

/// `commits/0000000400-3.json`
pub fn commit(step: Step, generation: Generation) -> String {
    format!("{COMMITS}/{step:010}-{generation}.json")
}

/// `checkpoints/0000000400-3-00c0ffee00c0ffee-0`: step, generation, its writer's nonce, attempt.
pub fn checkpoint(step: Step, generation: Generation, nonce: u64, attempt: u32) -> String {
    format!("{CHECKPOINTS}/{step:010}-{generation}-{nonce:016x}-{attempt}")
}

/// One attempt to write a checkpoint, as its folder's name tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// The step whose state it holds.
    pub step: Step,
    /// The generation of its writer.
    pub generation: Generation,
    /// Its writer; none in folders of format 0.
    pub nonce: Option<u64>,
}

/// Inverse of [`checkpoint`] for the path of a file in it: the folder, and what its name tells.
pub fn parse_checkpoint(path: &str) -> Option<(&str, Attempt)> {
    let rest = path.strip_prefix(CHECKPOINTS)?.strip_prefix('/')?;
    let (name, _) = rest.split_once('/')?;
    let fields: Vec<_> = name.split('-').collect();
    let (step, generation, nonce, attempt) = match fields[..] {
        [step, generation, attempt] => (step, generation, None, attempt),
        [step, generation, nonce, attempt] => (step, generation, Some(nonce), attempt),
        _ => return None,
    };
    let nonce = match nonce {
        Some(text) if text.len() == 16 => Some(u64::from_str_radix(text, 16).ok()?),
        Some(_) => return None,
        None => None,
    };
    number(attempt)?;
    let attempt = Attempt { step: Step(number(step)?), generation: Generation(number(generation)?), nonce };
    Some((&path[..path.len() - rest.len() + name.len()], attempt))
}

/// Inverse of [`commit`] for a path; `None` for anything else.
pub fn parse_commit(path: &str) -> Option<(Step, Generation)> {
    let name = path.strip_prefix(COMMITS)?.strip_prefix('/')?.strip_suffix(".json")?;
    let (step, generation) = name.split_once('-')?;
    Some((Step(number(step)?), Generation(number(generation)?)))
}

/// Inverse of [`join`] for a path; `None` for anything else.
pub fn parse_join(path: &str) -> Option<(NodeId, Incarnation)> {
    let (node, name) = path.strip_prefix(NODES)?.strip_prefix('/')?.split_once('/')?;
    let small = |text| u32::try_from(number(text)?).ok();
    Some((NodeId(small(node)?), Incarnation(small(name.strip_suffix(".json")?)?)))
}

/// Inverse of [`trace`] for a path; `None` for anything else.
pub fn parse_trace(path: &str) -> Option<(u64, Rank)> {
    let (request, name) = path.strip_prefix(TRACES)?.strip_prefix('/')?.split_once('/')?;
    let rank = u32::try_from(number(name.strip_suffix(".json")?)?).ok()?;
    Some((number(request)?, Rank(rank)))
}

/// Digits and nothing else: other programs' files have names that look like numbers to a kinder parser.
pub(crate) fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
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
        let path = join(NodeId(3), Incarnation(12_345));
        assert_eq!(parse_join(&path), Some((NodeId(3), Incarnation(12_345))));
        assert!(request(9) < request(10));
        assert_eq!(parse_trace(&trace(12, Rank(3))), Some((12, Rank(3))));
        let folder = checkpoint(Step(7), Generation(2), 0xabc, 1);
        let attempt = Attempt { step: Step(7), generation: Generation(2), nonce: Some(0xabc) };
        assert_eq!(parse_checkpoint(&format!("{folder}/model.safetensors")), Some((&*folder, attempt)));
        let old = Attempt { nonce: None, ..attempt };
        assert_eq!(
            parse_checkpoint("checkpoints/0000000007-2-0/state.json"),
            Some(("checkpoints/0000000007-2-0", old))
        );
    }

    #[test]
    fn what_is_named_otherwise_is_nobody_s_record() {
        for bad in ["commits/x-1.json", "commits/1.json", "commits/1-1.tmp", "", "commits/._1-1.json"] {
            assert_eq!(parse_commit(bad), None, "{bad}");
        }
        let joins = ["nodes/0/.DS_Store", "nodes/0/._0001.json", "nodes/0/+1.json", "nodes/0/0001.json~"];
        for bad in joins.into_iter().chain(["nodes/0/4294967296.json", "nodes/x/1.json", "nodes/.nfs01"]) {
            assert_eq!(parse_join(bad), None, "{bad}");
        }
        for bad in ["traces/1/._000001.json", "traces/1/4294967296.json", "traces/x/1.json", "traces/1.json"]
        {
            assert_eq!(parse_trace(bad), None, "{bad}");
        }
        for bad in ["checkpoints/1-1-0", "checkpoints/.x/y", "checkpoints/1-1-zz-0/y", "checkpoints/1-1/y"] {
            assert_eq!(parse_checkpoint(bad), None, "{bad}");
        }
    }
}
