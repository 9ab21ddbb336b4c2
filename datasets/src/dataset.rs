use std::sync::Arc;

use lockstep_storage::{Storage, open};

use crate::{
    Error, Result, blocking,
    mds::{ColumnSpec, INDEX, Index, Range, ShardInfo},
};

/// No index of a real dataset comes near; it bounds what a wrong file can make us read.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// One split of a dataset: its checked index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    split: String,
    index: Index,
    columns: Arc<[ColumnSpec]>,
    digest: String,
    /// First sample of each shard.
    starts: Vec<u64>,
    num_samples: u64,
}

impl Dataset {
    /// Reads the index of `split` (may be empty) of the dataset at `uri`.
    ///
    /// # Errors
    /// [`Error::NoDataset`] when there is none, [`Error::Index`], [`Error::Unsupported`], [`Error::Empty`] or
    /// [`Error::Storage`] otherwise.
    pub fn open(uri: &str, split: &str) -> Result<Self> {
        Self::open_in(open(uri)?, split)
    }

    /// As [`open`](Self::open), in a storage that is open already.
    ///
    /// # Errors
    /// As there.
    pub fn open_in(storage: Arc<dyn Storage>, split: &str) -> Result<Self> {
        blocking::run(Self::read(storage, split.to_owned()))
    }

    pub(crate) async fn read(storage: Arc<dyn Storage>, split: String) -> Result<Self> {
        let path = join(&split, INDEX);
        let file = storage.uri(&path);
        let missing = |error: lockstep_storage::Error| match error.is_not_found() {
            true => Error::NoDataset { uri: storage.uri(&split), file: file.clone() },
            false => error.into(),
        };
        let bytes = storage.head(&path).await.map_err(missing)?.bytes;
        if bytes > MAX_INDEX_BYTES {
            return Err(Error::Index { file, reason: format!("{bytes} bytes are more than 1 GiB") });
        }
        let text = storage.get(&path).await.map_err(missing)?;
        let (index, columns) = Index::parse(&file, &text)?;
        let mut num_samples = 0;
        let starts = index
            .shards
            .iter()
            .map(|shard| {
                num_samples += shard.samples;
                num_samples - shard.samples
            })
            .collect();
        let digest = index.digest();
        Ok(Self(Arc::new(Inner {
            storage,
            split,
            index,
            columns: columns.into(),
            digest,
            starts,
            num_samples,
        })))
    }

    /// The split's URI.
    pub fn uri(&self) -> String {
        self.0.storage.uri(&self.0.split)
    }

    /// Names the content: the same bytes of all shards give the same digest.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Number of samples.
    pub fn num_samples(&self) -> u64 {
        self.0.num_samples
    }

    /// Columns, sorted by name.
    pub fn columns(&self) -> &[ColumnSpec] {
        &self.0.columns
    }

    /// Smallest and largest value of a column over all splits, where the packer noted it.
    pub fn range(&self, column: &str) -> Option<Range> {
        self.0.index.lockstep.as_ref()?.ranges.get(column).copied()
    }

    /// Where the data is from, where the packer noted it.
    pub fn source(&self) -> Option<&str> {
        self.0.index.lockstep.as_ref()?.source.as_deref()
    }

    /// Number of samples of each shard, as an [`Order`](crate::Order) wants it.
    pub fn shard_samples(&self) -> Vec<u64> {
        self.shards().iter().map(|shard| shard.samples).collect()
    }

    pub(crate) fn shards(&self) -> &[ShardInfo] {
        &self.0.index.shards
    }

    pub(crate) fn shared_columns(&self) -> Arc<[ColumnSpec]> {
        self.0.columns.clone()
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.0.storage
    }

    /// Path of one of the split's files in the storage.
    pub(crate) fn path(&self, basename: &str) -> String {
        join(&self.0.split, basename)
    }

    /// Shard and row of a sample, which must be below [`num_samples`](Self::num_samples).
    pub(crate) fn locate(&self, sample: u64) -> (usize, u64) {
        let shard = self.0.starts.partition_point(|start| *start <= sample) - 1;
        (shard, sample - self.0.starts[shard])
    }
}

fn join(split: &str, name: &str) -> String {
    if split.is_empty() { name.to_owned() } else { format!("{split}/{name}") }
}
