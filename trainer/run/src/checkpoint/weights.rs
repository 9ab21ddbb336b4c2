//! Published weights that a run begins with: which files they are, and that they are still the same.

use super::PART_BYTES;
use crate::record::format::bad;
use crate::{Error, Result, WeightsFile, WeightsFrom};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lockstep_storage::{Error as StorageError, RECORD_BYTES, Storage};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a file of them is called, and a folder's only one.
const EXTENSION: &str = ".safetensors";
const ONLY: &str = "model.safetensors";
/// Where there are several, this one says which tensor is in which.
const INDEX: &str = "model.safetensors.index.json";
/// So many parts are on their way at once.
const PARTS_AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightsFrom {
    /// The weights at a URI: of a safetensors file, or of a folder as Hugging Face's libraries write it. Every byte is read,
    /// so that what is recorded is the content and not its name. The inner error is for the user.
    ///
    /// # Errors
    /// [`Error::Storage`], where asking again may help.
    pub async fn find(uri: &str) -> Result<Result<Self, String>> {
        match look(uri).await {
            Ok(found) => Ok(Ok(found)),
            Err(Error::Storage(error)) if error.is_transient() => Err(error.into()),
            Err(error) => Ok(Err(format!("warmStart.uri: {error}"))),
        }
    }

    /// The content of every file, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Weights`] where one is gone or another than the one that was found, and [`Error::Storage`].
    pub async fn read(&self) -> Result<Vec<Bytes>> {
        let storage = lockstep_storage::open(&self.folder)?;
        let mut all = Vec::with_capacity(self.files.len());
        for (name, expected) in &self.files {
            let uri = storage.uri(name);
            let changed = |problem| Error::Weights { uri: uri.clone(), problem };
            let read = async {
                let bytes = storage.head(name).await?.bytes;
                if bytes != expected.bytes {
                    let problem = format!("it has {bytes} bytes, and had {}", expected.bytes);
                    return Err(changed(problem));
                }
                Ok(storage.get_at_most(name, bytes).await?)
            };
            let body = read.await.map_err(|error| match error {
                Error::Storage(StorageError::NotFound { .. }) => changed("it is gone".to_owned()),
                Error::Storage(error @ StorageError::TooLarge { .. }) => changed(error.to_string()),
                other => other,
            })?;
            let found = blake3::hash(&body).to_hex();
            if found.as_str() != expected.blake3 {
                return Err(changed(format!("its BLAKE3 is {found}, and was {}", expected.blake3)));
            }
            all.push(body);
        }
        Ok(all)
    }
}

async fn look(uri: &str) -> Result<WeightsFrom> {
    let name = uri.rsplit('/').next().unwrap_or(uri);
    let (folder, names) = match uri.strip_suffix(name) {
        Some(folder) if name.ends_with(EXTENSION) => (folder, BTreeSet::from([name.to_owned()])),
        _ => (uri, in_folder(lockstep_storage::open(uri)?.as_ref()).await?),
    };
    let storage = lockstep_storage::open(folder)?;
    let mut files = BTreeMap::new();
    for name in names {
        let file = describe(storage.as_ref(), &name).await?;
        files.insert(name, file);
    }
    Ok(WeightsFrom { folder: folder.to_owned(), files })
}

/// One file, or else those that an index names; the same order as in transformers.
async fn in_folder(storage: &dyn Storage) -> Result<BTreeSet<String>> {
    match storage.head(ONLY).await {
        Ok(_) => return Ok([ONLY.to_owned()].into()),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let index = match storage.get_at_most(INDEX, RECORD_BYTES).await {
        Ok(index) => index,
        Err(error) if error.is_not_found() => return Err(Error::NoWeights { uri: storage.uri("") }),
        Err(error) => return Err(error.into()),
    };
    let unreadable = |reason: String| bad(&storage.uri(INDEX), "index of weights", reason);
    let Index { weight_map } = serde_json::from_slice(&index).map_err(|e| unreadable(e.to_string()))?;
    match weight_map.values().find(|name| !name.ends_with(EXTENSION)) {
        Some(other) => Err(unreadable(format!("it names {other:?}, which is no {EXTENSION} file"))),
        None if weight_map.is_empty() => Err(unreadable("it names no file".to_owned())),
        None => Ok(weight_map.into_values().collect()),
    }
}

/// Size and digest of a file that may be larger than the memory.
async fn describe(storage: &dyn Storage, name: &str) -> Result<WeightsFile> {
    let bytes = storage.head(name).await?.bytes;
    let starts = (0..bytes).step_by(PART_BYTES);
    let parts = starts.map(|start| storage.get_range(name, start..bytes.min(start + PART_BYTES as u64)));
    let mut parts = stream::iter(parts).buffered(PARTS_AT_ONCE);
    let mut hasher = blake3::Hasher::new();
    while let Some(part) = parts.try_next().await? {
        hasher.update(&part);
    }
    Ok(WeightsFile { bytes, blake3: hasher.finalize().to_hex().to_string() })
}
