use std::{collections::HashMap, sync::Arc};

use lockstep_storage::{Meta, Storage, open};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    Dataset, Error, Result, blocking,
    cache::download,
    check::find_splits,
    identity::CONTENT_HASH,
    mds::{INDEX, Index, parse_shard},
};

/// What [`seal`] did.
#[derive(Debug, Clone, Serialize)]
pub struct Seal {
    /// Where.
    pub uri: String,
    /// The splits, by name.
    pub splits: Vec<SealedSplit>,
}

/// One split that is sealed now.
#[derive(Debug, Clone, Serialize)]
pub struct SealedSplit {
    /// Its folder below the dataset; empty when the dataset has no splits.
    pub split: String,
    /// Its digest from now on.
    pub digest: String,
    /// Number of shards.
    pub shards: usize,
    /// Number of samples.
    pub samples: u64,
    /// Whether its index held hashes before, so that nothing was read or written.
    pub was_sealed: bool,
}

/// Reads every byte of the dataset at `uri`, or of one split of it, and writes hashes of each file into the indexes that
/// hold none. An index changes at once or not at all, and only if all is still as it was read; everything else in it stays.
///
/// # Errors
/// What is wrong with the dataset: nothing that is damaged is sealed. [`Error::Storage`] when the storage fails, or when
/// somebody changes a file meanwhile.
pub fn seal(uri: &str) -> Result<Seal> {
    let storage = open(uri)?;
    blocking::run(async {
        let mut splits = Vec::new();
        for split in find_splits(&storage).await? {
            splits.push(seal_split(&storage, split).await?);
        }
        Ok(Seal { uri: storage.uri(""), splits })
    })
}

async fn seal_split(storage: &Arc<dyn Storage>, split: String) -> Result<SealedSplit> {
    let before = Dataset::read(storage.clone(), split.clone()).await?;
    if before.is_hashed() {
        return Ok(sealed(split, &before, true));
    }
    let path = before.path(INDEX);
    let old = storage.head(&path).await?;
    let bad = |reason: String| Error::Index { file: storage.uri(&path), reason };
    let text = storage.get_listed(&old).await?;
    if Index::parse(&storage.uri(&path), &text)?.0.digest() != before.identity().index {
        return Err(lockstep_storage::Error::Changed { uri: storage.uri(&path) }.into());
    }
    let mut index: Json = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    for number in 0..before.shards().len() {
        let fetched = download(&before, number).await?;
        let file = storage.uri(&before.path(&before.shards()[number].raw_data.basename));
        parse_shard(before.columns(), &fetched.raw)
            .map_err(|flaw| flaw.in_shard(&file, 0, before.first_sample(number)))?;
        let shard = index
            .pointer_mut(&format!("/shards/{number}"))
            .and_then(Json::as_object_mut)
            .ok_or_else(|| bad(format!("shard {number} is gone")))?;
        let mut put = |data: &str, content: &[u8]| {
            if let Some(data) = shard.get_mut(data).and_then(Json::as_object_mut) {
                data.insert("hashes".into(), json!({ CONTENT_HASH.to_string(): CONTENT_HASH.hash(content) }));
            }
        };
        put("raw_data", &fetched.raw);
        if let Some(zip) = &fetched.zip {
            put("zip_data", zip);
        }
        shard.insert("hashes".into(), json!([CONTENT_HASH.to_string()]));
    }
    unchanged(storage, &before, &split).await?;
    let text = serde_json::to_vec(&index).map_err(|error| bad(error.to_string()))?;
    if !storage.replace(&old, text.into()).await? {
        return Err(lockstep_storage::Error::Changed { uri: storage.uri(&path) }.into());
    }
    Ok(sealed(split.clone(), &Dataset::read(storage.clone(), split).await?, false))
}

/// Each shard was read as it was listed; the first ones may have been exchanged while the last ones were read.
async fn unchanged(storage: &Arc<dyn Storage>, before: &Dataset, split: &str) -> Result<()> {
    let now: HashMap<String, Meta> =
        storage.list(split).await?.into_iter().map(|meta| (meta.path.clone(), meta)).collect();
    for shard in 0..before.shards().len() {
        let Some((_, listed)) = before.listed(shard) else { continue };
        if now.get(&listed.path) != Some(listed) {
            return Err(lockstep_storage::Error::Changed { uri: storage.uri(&listed.path) }.into());
        }
    }
    Ok(())
}

fn sealed(split: String, dataset: &Dataset, was_sealed: bool) -> SealedSplit {
    SealedSplit {
        split,
        digest: dataset.digest().to_owned(),
        shards: dataset.shards().len(),
        samples: dataset.num_samples(),
        was_sealed,
    }
}
