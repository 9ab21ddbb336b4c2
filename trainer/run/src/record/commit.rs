use crate::record::membership::Writer;
use crate::{Error, Generation, Result, Step};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Names one checkpoint: a step that was trained again by a later generation is another one.
///
/// Ordered by generation first, so that the later of two equal steps is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitRef {
    /// The generation that wrote it.
    pub generation: Generation,
    /// The step whose state it holds.
    pub step: Step,
}

/// `commits/<step>-<generation>.json`: the checkpoint exists if and only if this does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The step whose state it holds.
    pub step: Step,
    /// The generation that wrote it.
    pub generation: Generation,
    /// Folder of its files, relative to the run's.
    pub folder: String,
    /// The checkpoint that the run had before.
    pub parent: Option<CommitRef>,
    /// Its files by name.
    pub files: BTreeMap<String, FileEntry>,
    /// BLAKE3 over the files' hashes in name order.
    pub state_hash: String,
    /// World size when it was saved.
    pub world_size: u32,
    /// The process that wrote it.
    pub writer: Writer,
    /// When.
    pub at: Timestamp,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 over the parts' hashes.
    pub blake3: String,
    /// BLAKE3 of each part of [`crate::checkpoint::PART_BYTES`].
    pub parts: Vec<String>,
}

impl Commit {
    /// Its name.
    pub fn as_ref(&self) -> CommitRef {
        CommitRef { generation: self.generation, step: self.step }
    }

    /// Total size of its files, in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.files.values().map(|f| f.bytes).sum()
    }
}

/// A record together with the hash of its own bytes, as it is stored: no flipped bit goes unseen.
#[derive(Debug)]
pub struct Sealed;

#[derive(Serialize, Deserialize)]
struct Envelope {
    blake3: String,
    commit: Box<RawValue>,
}

impl Sealed {
    /// The bytes to store.
    pub fn seal(commit: &Commit) -> Result<Vec<u8>> {
        let bad = |e: serde_json::Error| bad_record("commit record", e);
        let text = serde_json::to_string(commit).map_err(bad)?;
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        let commit = RawValue::from_string(text).map_err(bad)?;
        serde_json::to_vec(&Envelope { blake3, commit }).map_err(bad)
    }

    /// Reads [`Sealed::seal`]'s bytes back. `uri` is for the message.
    ///
    /// # Errors
    /// [`Error::BadRecord`] where the bytes don't parse or don't hash to what they say.
    pub fn open(uri: &str, bytes: &[u8]) -> Result<Commit> {
        let bad = |e: serde_json::Error| bad_record(uri, e);
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(bad)?;
        let found = blake3::hash(envelope.commit.get().as_bytes()).to_hex();
        if *found != *envelope.blake3 {
            return Err(bad_record(
                uri,
                format!("its bytes hash to {}…, it says {}", &found[..8], short(&envelope.blake3)),
            ));
        }
        serde_json::from_str(envelope.commit.get()).map_err(bad)
    }
}

fn bad_record(uri: &str, reason: impl ToString) -> Error {
    Error::BadRecord { uri: uri.to_owned(), what: "commit record", reason: reason.to_string() }
}

fn short(hash: &str) -> String {
    hash.chars().take(8).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, NodeId};

    fn commit() -> Commit {
        let file = FileEntry { bytes: 3, blake3: "ab".into(), parts: vec!["cd".into()] };
        Commit {
            step: Step(4),
            generation: Generation(2),
            folder: "checkpoints/0000000004-2-0".into(),
            parent: None,
            files: [("model.safetensors".to_owned(), file)].into(),
            state_hash: "ef".into(),
            world_size: 2,
            writer: Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 7 },
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn any_flipped_byte_is_seen() {
        let bytes = Sealed::seal(&commit()).unwrap();
        assert_eq!(Sealed::open("x", &bytes).unwrap(), commit());
        for i in 0..bytes.len() {
            for bit in [0, 4, 7] {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                assert!(
                    Sealed::open("x", &bad).is_err(),
                    "byte {i} bit {bit} of {}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}
