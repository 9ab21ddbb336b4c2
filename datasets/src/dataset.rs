use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_storage::{Meta, Storage, open};

use crate::{
    Error, Result, blocking,
    identity::{CONTENT_HASH, Contents, Identity, Listing, content_digest},
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
    /// Where the index alone doesn't say what the content is.
    listing: Option<Listing>,
    contents: Mutex<Known>,
    /// First sample of each shard.
    starts: Vec<u64>,
    num_samples: u64,
}

/// Content hashes beside those of the index.
#[derive(Debug, Default)]
struct Known {
    /// Of what was read since the dataset was opened.
    learnt: Contents,
    /// Of what was read in an earlier life; nothing else is accepted.
    expected: Contents,
}

impl Dataset {
    /// Reads the index of `split` (may be empty) of the dataset at `uri`. Where the index holds no hashes, the files are
    /// listed as well, and nothing but what was listed is ever read.
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
        let text = storage.get_at_most(&path, MAX_INDEX_BYTES).await.map_err(|error| match error {
            error if error.is_not_found() => {
                Error::NoDataset { uri: storage.uri(&split), file: file.clone() }
            }
            lockstep_storage::Error::TooLarge { bytes, .. } => {
                Error::Index { file: file.clone(), reason: format!("{bytes} bytes are more than 1 GiB") }
            }
            error => error.into(),
        })?;
        let (index, columns) = Index::parse(&file, &text)?;
        let listing = match index.shards.iter().all(ShardInfo::is_hashed) {
            true => None,
            false => {
                let found = storage.list(&split).await.map_err(|source| match source {
                    lockstep_storage::Error::Denied { .. } => Error::Unlisted { file, source },
                    source => source.into(),
                })?;
                Some(Listing::new(&index, found, |name| join(&split, name)))
            }
        };
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
            listing,
            contents: Mutex::default(),
            starts,
            num_samples,
        })))
    }

    /// The split's URI.
    pub fn uri(&self) -> String {
        self.0.storage.uri(&self.0.split)
    }

    /// Names this dataset: by its content where the index holds hashes, else by its index and the listing of its files,
    /// which a copy need not share. See [`identity`](Self::identity).
    pub fn digest(&self) -> &str {
        self.0.listing.as_ref().map_or(&self.0.digest, |listing| &listing.digest)
    }

    /// All that the dataset is known by so far.
    pub fn identity(&self) -> Identity {
        let contents = self.contents();
        let of_index = |shard: u32| {
            self.shards()[shard as usize].raw_data.hashes.get(&CONTENT_HASH.to_string()).cloned()
        };
        let hash = |shard| contents.get(&shard).cloned().or_else(|| of_index(shard));
        Identity {
            index: self.0.digest.clone(),
            listing: self.0.listing.as_ref().map(|listing| listing.digest.clone()),
            content: content_digest(self.shards().len(), hash),
        }
    }

    /// Digest of the index as it is without its hashes: what [`seal`](crate::seal) doesn't change.
    pub fn unsealed_digest(&self) -> String {
        self.0.index.without_hashes().digest()
    }

    /// Whether the index says what the content must be. Else it is learnt as it is read, and [`contents`](Self::contents)
    /// are worth keeping.
    pub fn is_hashed(&self) -> bool {
        self.0.listing.is_none()
    }

    /// Hashes of the content that was read since the dataset was opened, and of what is [expected](Self::expect).
    pub fn contents(&self) -> Contents {
        let known = self.known();
        let mut all = known.expected.clone();
        all.extend(known.learnt.iter().map(|(shard, hash)| (*shard, hash.clone())));
        all
    }

    pub(crate) fn expected(&self) -> Contents {
        self.known().expected.clone()
    }

    /// From here on a shard of `contents` is used only if it has that content: what was read of it in an earlier life.
    ///
    /// # Errors
    /// [`Error::Replaced`] where another content was read already, or the index says so; [`Error::BadOption`] for a shard
    /// that there isn't.
    pub fn expect(&self, contents: &Contents) -> Result<()> {
        let name = CONTENT_HASH.to_string();
        for (&shard, hash) in contents {
            let Some(info) = self.shards().get(shard as usize) else {
                return Err(Error::option("shard", format!("below {}", self.shards().len()), shard));
            };
            let known = self.known().learnt.get(&shard).cloned();
            match known.or_else(|| info.raw_data.hashes.get(&name).map(|hash| hash.to_lowercase())) {
                Some(got) if got != *hash => return Err(self.replaced(shard, hash, &got)),
                _ => (),
            }
        }
        self.known().expected.extend(contents.iter().map(|(shard, hash)| (*shard, hash.clone())));
        Ok(())
    }

    /// Takes note of a shard's raw content, of which the index must have been satisfied before; its hash, where one is
    /// kept.
    pub(crate) fn learn(&self, shard: usize, raw: &[u8]) -> Result<Option<String>> {
        let number = shard as u32;
        if self.is_hashed() && !self.known().expected.contains_key(&number) {
            return Ok(None);
        }
        let hash = CONTENT_HASH.hash(raw);
        let mut known = self.known();
        let before = known.learnt.get(&number).or_else(|| known.expected.get(&number));
        if let Some(before) = before.filter(|before| **before != hash) {
            return Err(self.replaced(number, before, &hash));
        }
        known.learnt.insert(number, hash.clone());
        Ok(Some(hash))
    }

    fn replaced(&self, shard: u32, expected: &str, got: &str) -> Error {
        let file = self.path(&self.shards()[shard as usize].raw_data.basename);
        Error::Replaced {
            file: self.0.storage.uri(&file),
            algorithm: CONTENT_HASH.to_string(),
            expected: expected.to_owned(),
            got: got.to_owned(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insert; nothing panics in between.
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The object that holds a shard, and which of [`ShardInfo::stored`] it is, where the files were listed.
    pub(crate) fn listed(&self, shard: usize) -> Option<&(usize, Meta)> {
        self.0.listing.as_ref()?.file(shard)
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

    /// Number in the dataset of a shard's first sample.
    pub(crate) fn first_sample(&self, shard: usize) -> u64 {
        self.0.starts[shard]
    }
}

fn join(split: &str, name: &str) -> String {
    if split.is_empty() { name.to_owned() } else { format!("{split}/{name}") }
}
