use std::{io, path::PathBuf};

use crate::mds::Flaw;

/// What went wrong with a dataset. Every variant names the file and what to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The storage could not deliver.
    #[error(transparent)]
    Storage(#[from] lockstep_storage::Error),
    /// There is no dataset where one was expected.
    #[error(
        "{uri} holds no dataset: {file} does not exist; check the path and the split, or make one with `lockstep data pack`"
    )]
    NoDataset {
        /// The split's folder.
        uri: String,
        /// The index that is missing.
        file: String,
    },
    /// There are no tokens where some were expected.
    #[error(
        "{uri} holds no tokens: neither an index.json nor a *.bin file is there; check the path and the split, or make a dataset \
         with `lockstep data pack --tokens bytes`"
    )]
    NoTokens {
        /// The split's folder.
        uri: String,
    },
    /// A file that is no tokenizer, or one that can't be used.
    #[error("{}: {reason}", file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// A tokenizer that fails on a text, or on tokens.
    #[error("the tokenizer fails: {reason}")]
    Encoding {
        /// Its own words.
        reason: String,
    },
    /// A dataset of another format than it is read as.
    #[error("{file} lists files of the format {found}, but they are to be read as {wanted}; {fix}")]
    OtherFormat {
        /// URI of the index.
        file: String,
        /// What they are.
        found: &'static str,
        /// What they should be.
        wanted: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// No sample fits into any of the files.
    #[error(
        "no sample of {uri} has data.window + 1 = {needed} tokens: its largest file holds {longest}; lower data.window"
    )]
    LongWindow {
        /// The split's folder.
        uri: String,
        /// Tokens of a sample.
        needed: u64,
        /// Tokens of the largest file.
        longest: u64,
    },
    /// Training and evaluation files lie in one folder, and nothing says which of them are meant.
    #[error(
        "{train} and {eval} lie in one folder, and a folder of token files without an index is one split: give each split a \
         folder of its own, or a folder of links"
    )]
    MixedSplits {
        /// URI of a file to train on.
        train: String,
        /// URI of a file to evaluate on.
        eval: String,
    },
    /// A packer's files are there, but the index that it writes last is not.
    #[error(
        "{file} is of a dataset that `lockstep data pack` makes, but its {index} is not there: packing or copying it did not come to \
         its end; do that again"
    )]
    Unfinished {
        /// URI of one of the files.
        file: String,
        /// URI of the index.
        index: String,
    },
    /// A token file is too large to be read as a whole.
    #[error(
        "{file} holds {bytes} bytes, but a token file must have less than 4 GiB; split it into several files"
    )]
    HugeFile {
        /// URI of the file.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// Its files may not be listed, which an index without hashes needs.
    #[error(
        "{file} has no hashes of the dataset's files, so the files must be listed to be recognised later, and that failed: \
         {source}; allow that, or write the hashes with `lockstep data seal`"
    )]
    Unlisted {
        /// URI of the index.
        file: String,
        /// What the store said.
        source: lockstep_storage::Error,
    },
    /// The index is not one that we can read.
    #[error("{file} is not a valid index: {reason}")]
    Index {
        /// URI of the index.
        file: String,
        /// What is wrong, with line and column where the JSON itself is broken.
        reason: String,
    },
    /// A file breaks its format.
    #[error("{file} is damaged at byte {}: expected {}, got {}", flaw.offset, flaw.expected, flaw.got)]
    Format {
        /// URI of the shard.
        file: String,
        /// Where and how.
        flaw: Flaw,
    },
    /// A sample can't be read.
    #[error(
        "sample {sample} of {file}{}: expected {}, got {} (byte {})",
        flaw.column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default(),
        flaw.expected, flaw.got, flaw.offset
    )]
    Sample {
        /// URI of the shard.
        file: String,
        /// Its number in the dataset.
        sample: u64,
        /// Where and how.
        flaw: Box<Flaw>,
    },
    /// A file has another size than the index says.
    #[error(
        "{file} holds {got} bytes, but the index says {expected}; it is truncated or from another dataset"
    )]
    Size {
        /// URI of the file, with `(decompressed)` after it where its content is meant.
        file: String,
        /// Bytes by the index.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A file's content is not what the index was made from.
    #[error("{file} is damaged: its {algorithm} is {got}, but the index says {expected}")]
    Hash {
        /// URI of the file, with `(decompressed)` after it where its content is meant.
        file: String,
        /// Name of the hash.
        algorithm: String,
        /// By the index.
        expected: String,
        /// Computed.
        got: String,
    },
    /// A shard holds something else than it did.
    #[error(
        "{file} is not what it was: its {algorithm} is {got}, and it was {expected}; the dataset was changed in place: bring the \
         old files back, or start anew on the new ones with --fresh"
    )]
    Replaced {
        /// URI of the raw shard.
        file: String,
        /// Name of the hash.
        algorithm: String,
        /// Of what was read before.
        expected: String,
        /// Computed.
        got: String,
    },
    /// A shard stayed damaged although it was fetched again.
    #[error("shard {shard} of {uri} stayed damaged after {attempts} downloads; the last error: {source}")]
    Damaged {
        /// Number of the shard.
        shard: usize,
        /// Its URI.
        uri: String,
        /// How often it was fetched.
        attempts: u32,
        /// What was wrong the last time.
        source: Box<Error>,
    },
    /// Something that the format knows and we do not read.
    #[error("{file} needs {what}, which is not supported; {instead}")]
    Unsupported {
        /// URI of the index.
        file: String,
        /// The encoding, compression or hash.
        what: String,
        /// What to do.
        instead: &'static str,
    },
    /// A dataset without samples.
    #[error("{uri} holds no samples")]
    Empty {
        /// The split's folder.
        uri: String,
    },
    /// An epoch without a single step.
    #[error(
        "an epoch of {samples} samples has no full batch of {global_batch}; lower train.globalBatch or set data.tail to pad"
    )]
    NoSteps {
        /// Samples in the dataset.
        samples: u64,
        /// Samples of a step.
        global_batch: u32,
    },
    /// Order options or a rank that make no sense.
    #[error("{what} must be {rule}, not {got}")]
    BadOption {
        /// The option.
        what: &'static str,
        /// What it must be.
        rule: String,
        /// What it is.
        got: String,
    },
    /// A column that is not there, or not of the kind asked for.
    #[error("column {name:?}: {reason}")]
    Column {
        /// The column.
        name: String,
        /// What is wrong, and which columns there are.
        reason: String,
    },
    /// The batches of the loader came to their end, or its thread did.
    #[error("no batch for step {step}: {reason}")]
    NoBatch {
        /// The step asked for.
        step: u64,
        /// Why.
        reason: String,
    },
    /// A line of a file to pack.
    #[error("{}:{line}: {reason}", file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong, with the column.
        reason: String,
    },
    /// Pictures that can't be packed.
    #[error("{}: {reason}", file.display())]
    Pictures {
        /// The folder, archive or file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A dataset is already where one is to be written.
    #[error("{uri} exists already; choose another place, a dataset is never changed in place")]
    Exists {
        /// The index that is there.
        uri: String,
    },
    /// The cache's folder may be somebody else's.
    #[error(
        "{} can't be used for cached shards: {reason}; remove it, or set data.cache.dir to a folder of your own",
        dir.display()
    )]
    CacheFolder {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A local file or folder: the cache, or a file to pack.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, ...
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The result of every dataset call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether fetching the same file again may help: its bytes are not what the index says.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Format { .. } | Self::Size { .. } | Self::Hash { .. })
    }

    /// Whether the data itself is at fault, or the way that it is asked for. Otherwise the machine, the network or the
    /// store is, and the same call may well succeed a moment later.
    pub fn is_about_data(&self) -> bool {
        use lockstep_storage::Error as Storage;
        match self {
            Self::Io { .. } | Self::NoBatch { .. } => false,
            Self::Storage(error) => !matches!(
                error,
                Storage::Timeout { .. } | Storage::Unavailable { .. } | Storage::NoSpace { .. }
            ),
            Self::Damaged { source, .. } => source.is_about_data(),
            _ => true,
        }
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    pub(crate) fn option(what: &'static str, rule: impl Into<String>, got: impl ToString) -> Self {
        Self::BadOption { what, rule: rule.into(), got: got.to_string() }
    }
}

impl Flaw {
    /// As seen from the file that holds the parsed bytes at `base`, and whose first row is the sample `first` of its
    /// dataset.
    pub(crate) fn in_shard(mut self, file: &str, base: u64, first: u64) -> Error {
        let Some(row) = self.row else { return self.in_file(file, base) };
        self.offset = self.offset.saturating_add(base);
        Error::Sample { file: file.to_owned(), sample: first.saturating_add(row), flaw: Box::new(self) }
    }

    /// As seen from the file that holds the parsed bytes at `base`.
    pub(crate) fn in_file(mut self, file: &str, base: u64) -> Error {
        self.offset = self.offset.saturating_add(base);
        Error::Format { file: file.to_owned(), flaw: self }
    }
}
