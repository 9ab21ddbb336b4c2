use crate::record::format::{bad, check_format, to_line};
use crate::record::membership::Writer;
use crate::record::provenance::Provenance;
use crate::{Generation, Result, Step};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
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
    /// The processes that wrote it, first the one that committed.
    #[serde(alias = "writer", deserialize_with = "one_or_many")]
    pub writers: Vec<Writer>,
    /// Who wrote which bytes.
    #[serde(default)]
    pub slices: Vec<Slice>,
    /// What it was made from, where and by what. Empty in format 0.
    #[serde(default)]
    pub provenance: Provenance,
    /// When.
    pub at: Timestamp,
}

/// The part of a file that one process wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// The file's name.
    pub file: String,
    /// Its first byte in the file.
    pub from: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who wrote it: a place in [`Commit::writers`].
    pub writer: u32,
}

/// Format 0 had one writer.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Writer>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Writers {
        Many(Vec<Writer>),
        One(Writer),
    }
    Ok(match Writers::deserialize(from)? {
        Writers::Many(writers) => writers,
        Writers::One(writer) => vec![writer],
    })
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

    /// Total size of its files, in bytes; the most that there is where a record tells of more.
    pub fn num_bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.bytes))
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
        let bad = |e: serde_json::Error| bad("commit", WHAT, e);
        let text = to_line("commit", WHAT, commit)?;
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        let commit = RawValue::from_string(text).map_err(bad)?;
        serde_json::to_vec(&Envelope { blake3, commit }).map_err(bad)
    }

    /// Reads [`Sealed::seal`]'s bytes back. `uri` is for the message.
    ///
    /// # Errors
    /// [`BadRecord`](crate::Error::BadRecord) where the bytes don't parse or don't hash to what they say,
    /// [`Format`](crate::Error::Format) where they do and a newer version wrote them.
    pub fn open(uri: &str, bytes: &[u8]) -> Result<Commit> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| bad(uri, WHAT, e))?;
        let text = envelope.commit.get().as_bytes();
        let found = blake3::hash(text).to_hex();
        if *found != *envelope.blake3 {
            let reason =
                format!("its bytes hash to {}…, but it says {}", &found[..8], short(&envelope.blake3));
            return Err(bad(uri, WHAT, reason));
        }
        check_format(uri, WHAT, text)?;
        serde_json::from_slice(text).map_err(|e| bad(uri, WHAT, e))
    }
}

const WHAT: &str = "commit record";

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
            writers: vec![Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 7 }],
            slices: vec![],
            provenance: Provenance::default(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_record_of_one_writer_is_read_and_one_of_a_newer_version_is_refused_by_name() {
        let mut value = serde_json::to_value(commit()).unwrap();
        let fields = value.as_object_mut().unwrap();
        let writers = fields.remove("writers").unwrap();
        fields.insert("writer".to_owned(), writers[0].clone());
        fields.remove("slices");
        fields.remove("provenance");
        let seal = |value: &serde_json::Value| {
            let text = value.to_string();
            let blake3 = blake3::hash(text.as_bytes()).to_hex();
            format!("{{\"blake3\":\"{blake3}\",\"commit\":{text}}}").into_bytes()
        };
        assert_eq!(Sealed::open("x", &seal(&value)).unwrap(), commit());
        value["format"] = 2.into();
        let refused = Sealed::open("x", &seal(&value)).unwrap_err();
        assert!(matches!(refused, crate::Error::Format { found: 2, .. }), "{refused}");
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
