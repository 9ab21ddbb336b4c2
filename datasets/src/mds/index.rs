use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    mds::{Compression, Encoding, HashAlgorithm},
    tokens,
};

pub(crate) const INDEX: &str = "index.json";

/// A column of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name; columns are stored sorted by it.
    pub name: String,
    /// How its values are stored.
    pub encoding: Encoding,
}

/// Smallest and largest value of a numeric column, over all splits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Range {
    /// The smallest range that holds both.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// `index.json` as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Index {
    pub version: u32,
    pub shards: Vec<ShardInfo>,
    /// Ours; other readers pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<Notes>,
}

/// What our packer knows beyond the format.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Notes {
    #[serde(default)]
    pub ranges: BTreeMap<String, Range>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Names of the labels, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// What made tokens of text: `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

/// What a dataset's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardFormat {
    /// MosaicML's shards.
    Mds,
    /// Files of nothing but tokens; the samples of an entry are its tokens, however a reader cuts them.
    Tokens,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShardInfo {
    pub column_encodings: Vec<String>,
    pub column_names: Vec<String>,
    pub column_sizes: Vec<Option<u32>>,
    pub compression: Option<String>,
    pub format: String,
    #[serde(default)]
    pub hashes: Vec<String>,
    pub raw_data: FileInfo,
    pub samples: u64,
    #[serde(default)]
    pub size_limit: Option<u64>,
    pub version: u32,
    pub zip_data: Option<FileInfo>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct FileInfo {
    pub basename: String,
    pub bytes: u64,
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
}

impl FileInfo {
    pub(crate) fn new(basename: String, data: &[u8], hashes: &[HashAlgorithm]) -> Self {
        let hashes = hashes.iter().map(|hash| (hash.to_string(), hash.hash(data))).collect();
        Self { basename, bytes: data.len() as u64, hashes }
    }
}

impl Index {
    /// Reads and checks an index; `file` is its URI, for messages.
    pub(crate) fn parse(file: &str, text: &[u8]) -> Result<(Self, Vec<ColumnSpec>)> {
        let bad = |reason: String| Error::Index { file: file.to_owned(), reason };
        let index: Self = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        let columns = index.check(file)?;
        Ok((index, columns))
    }

    /// Checks that each entry is one that can be read, and that they fit together; the columns.
    pub(crate) fn check(&self, file: &str) -> Result<Vec<ColumnSpec>> {
        let bad = |reason: String| Error::Index { file: file.to_owned(), reason };
        if self.version != 2 {
            return Err(bad(format!("version 2 is expected, but it has {}", self.version)));
        }
        let Some(first) = self.shards.first() else {
            return Err(Error::Empty { uri: file.to_owned() });
        };
        let columns = first.columns(file)?;
        let mut total = 0_u64;
        let mut names = HashSet::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let bad = |reason: String| bad(format!("shard {number}: {reason}"));
            if shard.columns(file)? != columns {
                return Err(bad("its columns differ from those of shard 0".into()));
            }
            shard.check(file, &bad)?;
            if shard.format != first.format {
                return Err(bad(format!("it is {:?}, but shard 0 is {:?}", shard.format, first.format)));
            }
            if !names.insert(&shard.raw_data.basename) {
                return Err(bad(format!("{:?} is listed twice", shard.raw_data.basename)));
            }
            total = total
                .checked_add(shard.samples)
                .ok_or_else(|| bad("the number of samples overflows".into()))?;
        }
        if total == 0 {
            return Err(Error::Empty { uri: file.to_owned() });
        }
        Ok(columns)
    }

    /// What all the files are.
    pub(crate) fn format(&self) -> ShardFormat {
        match self.shards.first() {
            Some(shard) if shard.format == tokens::FORMAT => ShardFormat::Tokens,
            _ => ShardFormat::Mds,
        }
    }

    /// The SHA-256 of the shards' entries in one canonical form. It names the content where they hold hashes.
    pub(crate) fn digest(&self) -> String {
        // `Value` with sorted keys would do, but fields in declared order and sorted maps are canonical already.
        let canonical = serde_json::to_vec(&self.shards).unwrap_or_default();
        format!("sha256:{}", hex::encode(Sha256::digest(canonical)))
    }

    /// The same index as it was before somebody wrote hashes into it.
    pub(crate) fn without_hashes(&self) -> Self {
        let mut index = self.clone();
        for shard in &mut index.shards {
            shard.hashes.clear();
            shard.raw_data.hashes.clear();
            shard.zip_data.iter_mut().for_each(|zip| zip.hashes.clear());
        }
        index
    }
}

impl ShardInfo {
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.compression.as_ref()?.parse().ok()
    }

    fn columns(&self, file: &str) -> Result<Vec<ColumnSpec>> {
        let bad = |reason: String| Error::Index { file: file.to_owned(), reason };
        let (names, encodings, sizes) = (&self.column_names, &self.column_encodings, &self.column_sizes);
        if names.is_empty() || names.len() != encodings.len() || names.len() != sizes.len() {
            return Err(bad("column_names, column_encodings and column_sizes must be equally long".into()));
        }
        let mut columns: Vec<ColumnSpec> = Vec::with_capacity(names.len());
        for ((name, text), size) in names.iter().zip(encodings).zip(sizes) {
            // Pickled and unknown values are never decoded, and a reader of other columns doesn't mind them.
            let other = |_| Encoding::Other { name: text.clone(), bytes: *size };
            let encoding: Encoding = text.parse().unwrap_or_else(other);
            if encoding.fixed_bytes() != *size {
                return Err(bad(format!(
                    "column {name:?} has size {size:?}, but {text} has {:?}",
                    encoding.fixed_bytes()
                )));
            }
            if columns.last().is_some_and(|last| last.name >= *name) {
                return Err(bad(format!("columns must be sorted and distinct, but {name:?} is not")));
            }
            columns.push(ColumnSpec { name: name.clone(), encoding });
        }
        Ok(columns)
    }

    fn check(&self, file: &str, bad: &impl Fn(String) -> Error) -> Result<()> {
        let unsupported = |what: String, instead| Error::Unsupported { file: file.to_owned(), what, instead };
        let is_mds = match (self.format.as_str(), self.version) {
            ("mds", 2) => true,
            (tokens::FORMAT, tokens::VERSION) => false,
            (format, version) => {
                return Err(bad(format!(
                    "mds version 2 or tokens version 1 is expected, but it is {format} {version}"
                )));
            }
        };
        if let Some(compression) = &self.compression {
            compression.parse::<Compression>().map_err(|_| {
                unsupported(format!("the compression {compression:?}"), "write the shards with zstd or gz")
            })?;
        }
        if self.compression.is_some() != self.zip_data.is_some() {
            return Err(bad("it must have both compression and zip_data, or neither".into()));
        }
        for info in [Some(&self.raw_data), self.zip_data.as_ref()].into_iter().flatten() {
            let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\\', '\0']);
            if !info.basename.split('/').all(plain) {
                return Err(bad(format!("the file name {:?} leaves the dataset's folder", info.basename)));
            }
            for name in info.hashes.keys() {
                name.parse::<HashAlgorithm>().map_err(|_| {
                    unsupported(
                        format!("the hash {name:?}"),
                        "use xxh64, xxh3_64, sha256 or another known one",
                    )
                })?;
            }
        }
        if self.samples >= u64::from(u32::MAX) || self.raw_data.bytes > u64::from(u32::MAX) {
            return Err(bad("a shard must hold less than 4 GiB and fewer than 2^32 samples".into()));
        }
        if !is_mds {
            return tokens::check_entry(self).map_err(bad);
        }
        let least = 4 * (self.samples + 2);
        if self.raw_data.bytes < least {
            let bytes = self.raw_data.bytes;
            return Err(bad(format!(
                "{} samples need at least {least} bytes, but it has {bytes}",
                self.samples
            )));
        }
        Ok(())
    }
}
