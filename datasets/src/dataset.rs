use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lockstep_storage::{Meta, Storage, open};

use crate::{
    Error, Result, blocking,
    identity::{CONTENT_HASH, Contents, Identity, Listing, content_digest},
    mds::{ColumnSpec, Flaw, INDEX, Index, Layout, Range, ShardInfo, parse_shard},
    reading::{ReadAs, Reading},
    tokens,
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
    reading: Reading,
    /// Whether there is an index to read, and not only files that tell themselves what they are.
    has_index: bool,
    digest: String,
    /// Samples of each shard.
    samples: Vec<u64>,
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
        blocking::run(Self::read(storage, split.to_owned(), ReadAs::Mds))
    }

    /// As [`open`](Self::open), for token files: those that an index lists, or, where there is none, all `*.bin` files of
    /// the folder, of which only the headers are read. A sample has one column, `tokens`: `window + 1` consecutive tokens
    /// of a file. Samples begin every `window` tokens; what doesn't fill one at the end of a file is left out.
    ///
    /// # Errors
    /// As there, and [`Error::NoTokens`], [`Error::LongWindow`], [`Error::MixedSplits`], [`Error::Unfinished`],
    /// [`Error::HugeFile`], [`Error::Format`] for a file that is none, and [`Error::BadOption`] for a window of 0.
    pub fn open_tokens(uri: &str, split: &str, window: u32) -> Result<Self> {
        Self::open_tokens_in(open(uri)?, split, window)
    }

    /// As [`open_tokens`](Self::open_tokens), in a storage that is open already.
    ///
    /// # Errors
    /// As there.
    pub fn open_tokens_in(storage: Arc<dyn Storage>, split: &str, window: u32) -> Result<Self> {
        let window = NonZeroU32::new(window)
            .ok_or_else(|| Error::option("data.window", "at least 1 token", window))?;
        blocking::run(Self::read(storage, split.to_owned(), ReadAs::Windows(window)))
    }

    pub(crate) async fn read(storage: Arc<dyn Storage>, split: String, read_as: ReadAs) -> Result<Self> {
        let path = join(&split, INDEX);
        let file = storage.uri(&path);
        let text = match storage.get_at_most(&path, MAX_INDEX_BYTES).await {
            Ok(text) => Some(text),
            Err(error) if error.is_not_found() && !matches!(read_as, ReadAs::Mds) => None,
            Err(error) if error.is_not_found() => {
                return Err(Error::NoDataset { uri: storage.uri(&split), file });
            }
            Err(lockstep_storage::Error::TooLarge { bytes, .. }) => {
                return Err(Error::Index { file, reason: format!("{bytes} bytes are more than 1 GiB") });
            }
            Err(error) => return Err(error.into()),
        };
        let has_index = text.is_some();
        let (index, mut columns, found) = match text {
            Some(text) => {
                let (index, columns) = Index::parse(&file, &text)?;
                let is_hashed = index.shards.iter().all(ShardInfo::is_hashed);
                let found = if is_hashed { None } else { Some(list(&storage, &split, &file).await?) };
                (index, columns, found)
            }
            None => {
                let found = storage.list(&split).await?;
                let index = tokens::make_index(&storage, &split, &found).await?;
                let columns = index.check(&storage.uri(&split))?;
                (index, columns, Some(found))
            }
        };
        let reading = read_as.reading(index.format(), &file)?;
        let mut samples: Vec<u64> = index.shards.iter().map(|shard| shard.samples).collect();
        reading.cut(&storage.uri(&split), &mut samples, &mut columns)?;
        let mut num_samples = 0;
        let mut first_of = |samples: &u64| {
            num_samples += samples;
            num_samples - samples
        };
        Ok(Self(Arc::new(Inner {
            starts: samples.iter().map(&mut first_of).collect(),
            num_samples,
            samples,
            listing: found.map(|found| Listing::new(&index, found, |name| join(&split, name))),
            digest: index.digest(),
            storage,
            split,
            index,
            columns: columns.into(),
            reading,
            has_index,
            contents: Mutex::default(),
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

    /// What made tokens of text, where the packer noted it.
    pub fn tokenizer(&self) -> Option<&str> {
        self.0.index.lockstep.as_ref()?.tokenizer.as_deref()
    }

    /// Whether there is an index, and not only token files that tell themselves what they are.
    pub fn has_index(&self) -> bool {
        self.0.has_index
    }

    /// `mds` or `tokens`.
    pub fn format(&self) -> &'static str {
        match self.0.reading {
            Reading::Mds => "mds",
            Reading::Tokens(_) => tokens::FORMAT,
        }
    }

    /// Number of samples of each shard, as an [`Order`](crate::Order) wants it.
    pub fn shard_samples(&self) -> Vec<u64> {
        self.0.samples.clone()
    }

    pub(crate) fn shards(&self) -> &[ShardInfo] {
        &self.0.index.shards
    }

    pub(crate) fn index(&self) -> &Index {
        &self.0.index
    }

    /// Checks that a shard's raw content is laid out as the index says, and where its samples lie.
    pub(crate) fn layout(&self, shard: usize, raw: &[u8]) -> Result<Layout, Flaw> {
        let info = &self.shards()[shard];
        match self.0.reading {
            Reading::Mds => Layout::of_mds(raw, info.samples),
            Reading::Tokens(cut) => tokens::layout(raw, info, cut),
        }
    }

    /// Reads each value of a shard's raw content; the number of its samples.
    pub(crate) fn read_values(&self, shard: usize, raw: &[u8]) -> Result<u64, Flaw> {
        match self.0.reading {
            Reading::Mds => parse_shard(self.columns(), raw),
            // Any number may be a token.
            Reading::Tokens(_) => Ok(self.layout(shard, raw)?.rows()),
        }
    }

    /// Smallest and largest token of a shard; `None` where there are no tokens.
    pub(crate) fn token_range(&self, shard: usize, raw: &[u8]) -> Option<Range> {
        match self.0.reading {
            Reading::Mds => None,
            Reading::Tokens(_) => tokens::range(raw, &self.shards()[shard]),
        }
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

/// The files of a split whose index has no hashes of them.
async fn list(storage: &Arc<dyn Storage>, split: &str, index: &str) -> Result<Vec<Meta>> {
    storage.list(split).await.map_err(|source| match source {
        lockstep_storage::Error::Denied { .. } => Error::Unlisted { file: index.to_owned(), source },
        source => source.into(),
    })
}

fn join(split: &str, name: &str) -> String {
    if split.is_empty() { name.to_owned() } else { format!("{split}/{name}") }
}
