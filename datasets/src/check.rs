use std::{collections::BTreeMap, sync::Arc};

use lockstep_storage::{Storage, open};
use serde::Serialize;

use crate::{
    Dataset, Error, Result, blocking,
    cache::download,
    identity::Contents,
    mds::{INDEX, Range},
    reading::ReadAs,
    tokens,
};

/// What [`inspect`] found.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Where it looked.
    pub uri: String,
    /// The splits, by name.
    pub splits: Vec<SplitSummary>,
}

/// One split, by its index alone.
#[derive(Debug, Clone, Serialize)]
pub struct SplitSummary {
    /// Its folder below the dataset; empty when the dataset has no splits.
    pub split: String,
    /// See [`Dataset::digest`].
    pub digest: String,
    /// `mds` or `tokens`.
    pub format: &'static str,
    /// Whether there is an index file; token files need none.
    pub indexed: bool,
    /// Whether the index says what the content must be.
    pub hashed: bool,
    /// Number of samples; of tokens, where how they are cut into samples is the job's.
    pub samples: u64,
    /// Number of shards.
    pub shards: usize,
    /// Size of all shards, decompressed.
    pub raw_bytes: u64,
    /// Size of all shards as they are stored.
    pub stored_bytes: u64,
    /// `zstd:9`, ...
    pub compression: Option<String>,
    /// Hashes of each file.
    pub hashes: Vec<String>,
    /// Encoding of each column.
    pub columns: BTreeMap<String, String>,
    /// Smallest and largest values, where they were noted.
    pub ranges: BTreeMap<String, Range>,
    /// Where the data is from, where it was noted.
    pub source: Option<String>,
    /// What made tokens of text, where it was noted.
    pub tokenizer: Option<String>,
}

/// What [`verify`] found.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Where it looked.
    pub uri: String,
    /// Splits whose index could be read.
    pub splits: Vec<SplitSummary>,
    /// Samples that were read and decoded without a flaw, in flawless shards.
    pub good_samples: u64,
    /// Of those the ones in shards whose content nothing vouches for: neither the index nor what was recorded.
    pub unproven_samples: u64,
    /// All that is wrong; empty for a good dataset.
    pub problems: Vec<Problem>,
}

/// What a dataset's content is known to have been, for [`verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// URI of the split.
    pub uri: String,
    /// Digest of its index, see [`Identity::index`](crate::Identity::index).
    pub index: String,
    /// Content of its shards.
    pub contents: Contents,
}

/// One thing that is wrong with a dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// The split's folder.
    pub split: String,
    /// Number of the shard; `None` for the index.
    pub shard: Option<usize>,
    /// What is wrong, naming file and place.
    pub error: String,
}

impl Verification {
    /// Whether every byte is known to be as it should be.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && self.unproven_samples == 0
    }
}

impl SplitSummary {
    fn new(split: &str, dataset: &Dataset) -> Self {
        let shards = dataset.shards();
        let first = shards.first();
        Self {
            split: split.to_owned(),
            digest: dataset.digest().to_owned(),
            format: dataset.format(),
            indexed: dataset.has_index(),
            hashed: dataset.is_hashed(),
            samples: dataset.num_samples(),
            shards: shards.len(),
            raw_bytes: shards.iter().map(|shard| shard.raw_data.bytes).sum(),
            stored_bytes: shards
                .iter()
                .map(|shard| shard.zip_data.as_ref().unwrap_or(&shard.raw_data).bytes)
                .sum(),
            compression: first.and_then(|shard| shard.compression.clone()),
            hashes: first.map(|shard| shard.hashes.clone()).unwrap_or_default(),
            columns: dataset
                .columns()
                .iter()
                .map(|column| (column.name.clone(), column.encoding.to_string()))
                .collect(),
            ranges: dataset
                .columns()
                .iter()
                .filter_map(|column| Some((column.name.clone(), dataset.range(&column.name)?)))
                .collect(),
            source: dataset.source().map(str::to_owned),
            tokenizer: dataset.tokenizer().map(str::to_owned),
        }
    }
}

/// Describes the dataset at `uri`, or one split of it, by its indexes.
///
/// # Errors
/// [`Error::NoDataset`] when no index is there; whatever is wrong with one.
pub fn inspect(uri: &str) -> Result<Inspection> {
    let storage = open(uri)?;
    blocking::run(async {
        let mut splits = Vec::new();
        for split in find_splits(&storage).await? {
            let dataset = Dataset::read(storage.clone(), split.clone(), ReadAs::Any).await?;
            splits.push(SplitSummary::new(&split, &dataset));
        }
        Ok(Inspection { uri: storage.uri(""), splits })
    })
}

/// Reads every byte of the dataset at `uri`, or of one split of it: sizes, hashes, and each value of each sample. Shards of
/// the split that `recorded` is about, by its URI or its index, are compared with what is recorded as well.
///
/// # Errors
/// [`Error::NoDataset`] when no index is there, and [`Error::Storage`] when the storage fails; what is wrong with the
/// dataset itself is in the result.
pub fn verify(uri: &str, recorded: Option<&Recorded>) -> Result<Verification> {
    let storage = open(uri)?;
    blocking::run(async {
        let mut found = Verification {
            uri: storage.uri(""),
            splits: Vec::new(),
            good_samples: 0,
            unproven_samples: 0,
            problems: Vec::new(),
        };
        let (nothing, mut is_met) = (Contents::new(), false);
        for split in find_splits(&storage).await? {
            let problem =
                |shard, error: Error| Problem { split: split.clone(), shard, error: error.to_string() };
            let dataset = match Dataset::read(storage.clone(), split.clone(), ReadAs::Any).await {
                Ok(dataset) => dataset,
                Err(error) if is_outage(&error) => return Err(error),
                Err(error) => {
                    found.problems.push(problem(None, error));
                    continue;
                }
            };
            let mut proven = &nothing;
            if let Some(known) = recorded.filter(|known| known.is_about(&dataset)) {
                is_met = true;
                match known.expect_of(&dataset) {
                    Ok(()) => proven = &known.contents,
                    Err(error) => found.problems.push(problem(None, error)),
                }
            }
            for shard in 0..dataset.shards().len() {
                match verify_shard(&dataset, shard).await {
                    Ok(samples) => {
                        found.good_samples += samples;
                        let vouched = dataset.is_hashed() || proven.contains_key(&(shard as u32));
                        found.unproven_samples += if vouched { 0 } else { samples };
                    }
                    Err(error) if is_outage(&error) => return Err(error),
                    Err(error) => found.problems.push(problem(Some(shard), error)),
                }
            }
            found.splits.push(SplitSummary::new(&split, &dataset));
        }
        if let Some(known) = recorded.filter(|_| !is_met) {
            let error =
                format!("no split has the digest {}, which is recorded for {}", known.index, known.uri);
            found.problems.push(Problem { split: String::new(), shard: None, error });
        }
        Ok(found)
    })
}

impl Recorded {
    fn is_about(&self, dataset: &Dataset) -> bool {
        self.uri == dataset.uri() || self.has_index_of(dataset)
    }

    fn has_index_of(&self, dataset: &Dataset) -> bool {
        self.index == dataset.identity().index || self.index == dataset.unsealed_digest()
    }

    /// From here on the dataset's shards must be what is recorded.
    fn expect_of(&self, dataset: &Dataset) -> Result<()> {
        if !self.has_index_of(dataset) {
            let reason =
                format!("its digest is {}, but the recorded one is {}", dataset.identity().index, self.index);
            return Err(Error::Index { file: dataset.storage().uri(&dataset.path(INDEX)), reason });
        }
        dataset.expect(&self.contents)
    }
}

async fn verify_shard(dataset: &Dataset, shard: usize) -> Result<u64> {
    let raw = download(dataset, shard).await?.raw;
    dataset.learn(shard, &raw)?;
    let file = dataset.storage().uri(&dataset.path(&dataset.shards()[shard].raw_data.basename));
    dataset.read_values(shard, &raw).map_err(|flaw| flaw.in_shard(&file, 0, dataset.first_sample(shard)))
}

/// A file that is missing, replaced or no file is a flaw of the dataset; a store that does not answer is not.
fn is_outage(error: &Error) -> bool {
    use lockstep_storage::Error as Storage;
    match error {
        Error::Storage(Storage::Changed { .. } | Storage::NotAFile { .. } | Storage::TooLarge { .. }) => {
            false
        }
        Error::Storage(storage) => !storage.is_not_found(),
        Error::Io { .. } => true,
        _ => false,
    }
}

/// The folders that hold an index or token files: the root itself, or those right below it.
pub(crate) async fn find_splits(storage: &Arc<dyn Storage>) -> Result<Vec<String>> {
    let mut splits = Vec::new();
    for folder in storage.folders("").await? {
        if has_index(storage, &folder).await? || tokens::holds_files(&folder, &storage.list(&folder).await?) {
            splits.push(folder);
        }
    }
    // The root is listed only where it may be all that there is: everything lies below it.
    if has_index(storage, "").await? || splits.is_empty() && tokens::holds_files("", &storage.list("").await?)
    {
        splits.insert(0, String::new());
    }
    if splits.is_empty() {
        return Err(Error::NoDataset { uri: storage.uri(""), file: storage.uri(INDEX) });
    }
    Ok(splits)
}

async fn has_index(storage: &Arc<dyn Storage>, folder: &str) -> Result<bool> {
    let index = if folder.is_empty() { INDEX.to_owned() } else { format!("{folder}/{INDEX}") };
    match storage.head(&index).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
