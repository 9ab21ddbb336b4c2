use std::{collections::HashMap, sync::Arc};

use lockstep_storage::{Created, Meta, Storage, open};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    Dataset, Error, Result, blocking,
    cache::download,
    check::find_splits,
    identity::CONTENT_HASH,
    mds::{INDEX, Index, Range},
    reading::ReadAs,
    tokens::COLUMN,
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
    /// Number of samples, or of tokens.
    pub samples: u64,
    /// Whether its index held hashes before, so that nothing was read or written.
    pub was_sealed: bool,
}

/// Reads every byte of the dataset at `uri`, or of one split of it, and writes hashes of each file into the indexes that
/// hold none. An index changes at once or not at all, and only if all is still as it was read; everything else in it stays.
/// Token files without an index get one, with the range of their tokens.
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
    let before = Dataset::read(storage.clone(), split.clone(), ReadAs::Any).await?;
    if before.is_hashed() {
        return Ok(sealed(split, &before, true));
    }
    let path = before.path(INDEX);
    let bad = |reason: String| Error::Index { file: storage.uri(&path), reason };
    let changed = || Err(lockstep_storage::Error::Changed { uri: storage.uri(&path) }.into());
    // Token files may have no index yet.
    let old = if before.has_index() { Some(storage.head(&path).await?) } else { None };
    let mut index: Json = match &old {
        None => serde_json::to_value(before.index()).map_err(|error| bad(error.to_string()))?,
        Some(old) => {
            let text = storage.get_listed(old).await?;
            if Index::parse(&storage.uri(&path), &text)?.0.digest() != before.identity().index {
                return changed();
            }
            serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?
        }
    };
    let mut tokens: Option<Range> = None;
    for number in 0..before.shards().len() {
        let fetched = download(&before, number).await?;
        let file = storage.uri(&before.path(&before.shards()[number].raw_data.basename));
        before
            .read_values(number, &fetched.raw)
            .map_err(|flaw| flaw.in_shard(&file, 0, before.first_sample(number)))?;
        tokens = match (tokens, before.token_range(number, &fetched.raw)) {
            (Some(so_far), Some(more)) => Some(so_far.with(more)),
            (so_far, more) => so_far.or(more),
        };
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
    if let Some(range) = tokens.filter(|_| before.range(COLUMN).is_none()) {
        note_range(&mut index, range);
    }
    unchanged(storage, &before, &split).await?;
    let text = serde_json::to_vec(&index).map_err(|error| bad(error.to_string()))?;
    let done = match &old {
        Some(old) => storage.replace(old, text.into()).await?,
        None => match storage.create(&path, text.clone().into()).await? {
            Created::Ours => true,
            Created::Theirs(there) => there == text,
        },
    };
    if !done {
        return changed();
    }
    Ok(sealed(split.clone(), &Dataset::read(storage.clone(), split, ReadAs::Any).await?, false))
}

/// What a model needs to know of tokens, beside what is there already.
fn note_range(index: &mut Json, range: Range) {
    let notes = &mut index["lockstep"];
    if !notes.is_object() {
        *notes = json!({});
    }
    if !notes["ranges"].is_object() {
        notes["ranges"] = json!({});
    }
    notes["ranges"][COLUMN] = json!(range);
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
