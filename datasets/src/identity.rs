use std::collections::{BTreeMap, HashMap};

use lockstep_storage::Meta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::mds::{HashAlgorithm, Index};

/// The hash by which content is known where an index has none; [`seal`](crate::seal) writes the same one.
pub(crate) const CONTENT_HASH: HashAlgorithm = HashAlgorithm::Xxh3_128;

/// Hashes of shards' raw content by the shards' numbers: XXH3-128 in hex.
pub type Contents = BTreeMap<u32, String>;

/// What a dataset is known by.
///
/// The same index is the same data only where it holds hashes. Otherwise the listing of the files stands in until their
/// content was read; a copy may have another listing, and then the content decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Digest of the index: of the content, where the index holds hashes.
    pub index: String,
    /// Only where the index holds no hashes: digest of the index and of each file's name, size and version (ETag, or for
    /// files the time of the last change).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// Digest over the hashes of all shards' content, once all are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl Identity {
    /// The strongest name that is known without reading the content.
    pub fn digest(&self) -> &str {
        self.listing.as_deref().unwrap_or(&self.index)
    }
}

/// The files of a dataset as they were listed when it was opened.
#[derive(Debug)]
pub(crate) struct Listing {
    /// For each shard which of [`ShardInfo::stored`](crate::mds::ShardInfo::stored) is there, and its object.
    files: Vec<Option<(usize, Meta)>>,
    pub digest: String,
}

impl Listing {
    /// Picks the shards' files out of what lies in the split's folder; `path` makes a full path from a file's name.
    pub(crate) fn new(index: &Index, found: Vec<Meta>, path: impl Fn(&str) -> String) -> Self {
        let mut found: HashMap<String, Meta> =
            found.into_iter().map(|meta| (meta.path.clone(), meta)).collect();
        let mut names = Sha256::new();
        names.update(index.digest());
        let pick = |shard: &crate::mds::ShardInfo| {
            let stored = shard.stored();
            let there = stored
                .iter()
                .enumerate()
                .find_map(|(form, stored)| Some((form, found.remove(&path(&stored.basename))?)));
            let line = match &there {
                None => "\n-".to_owned(),
                Some((form, meta)) => {
                    let version = meta.version.as_deref().unwrap_or("-");
                    format!("\n{}\t{}\t{version}", stored[*form].basename, meta.bytes)
                }
            };
            names.update(line);
            there
        };
        let files = index.shards.iter().map(pick).collect();
        Self { files, digest: format!("listing:{}", hex::encode(names.finalize())) }
    }

    pub(crate) fn file(&self, shard: usize) -> Option<&(usize, Meta)> {
        self.files.get(shard)?.as_ref()
    }
}

/// One digest for the content of all shards, whatever the names of their files; `None` where one is unknown.
pub(crate) fn content_digest(num_shards: usize, hash: impl Fn(u32) -> Option<String>) -> Option<String> {
    let mut all = Sha256::new();
    for shard in 0..num_shards {
        all.update(hash(shard as u32)?);
        all.update("\n");
    }
    Some(format!("content:{}", hex::encode(all.finalize())))
}
