use std::sync::Arc;

use bytes::Bytes;
use lockstep_storage::Storage;

use crate::{
    Error, Result, blocking,
    mds::{INDEX, Index, Notes, ShardInfo},
};

/// Where a split is written: its files first, its index last, so that it is there whole or not at all.
#[derive(Debug)]
pub(crate) struct Target {
    storage: Arc<dyn Storage>,
    folder: String,
}

impl Target {
    /// The folder of `split` (may be empty) of the dataset at `uri`.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is an index already.
    pub(crate) fn open(uri: &str, split: &str) -> Result<Self> {
        let target = Self { storage: lockstep_storage::open(uri)?, folder: split.to_owned() };
        let index = target.path(INDEX);
        blocking::run(async {
            match target.storage.head(&index).await {
                Err(error) if error.is_not_found() => Ok(()),
                Ok(_) => Err(Error::Exists { uri: target.storage.uri(&index) }),
                Err(error) => Err(error.into()),
            }
        })?;
        Ok(target)
    }

    /// Blocking.
    pub(crate) fn put(&self, name: &str, body: impl Into<Bytes>) -> Result<()> {
        let (path, body) = (self.path(name), body.into());
        blocking::run(async { Ok(self.storage.put(&path, body).await?) })
    }

    /// Writes the index of the files that were put. Blocking.
    ///
    /// # Errors
    /// [`Error::Empty`] where there are none.
    pub(crate) fn finish(self, shards: Vec<ShardInfo>, notes: Option<Notes>) -> Result<Index> {
        let index = Index { version: 2, shards, lockstep: notes };
        if index.shards.is_empty() {
            return Err(Error::Empty { uri: self.storage.uri(&self.folder) });
        }
        let bad = |error: serde_json::Error| Error::Index {
            file: self.storage.uri(&self.path(INDEX)),
            reason: error.to_string(),
        };
        let text = serde_json::to_vec(&index).map_err(bad)?;
        self.put(INDEX, text)?;
        Ok(index)
    }

    fn path(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }
}
