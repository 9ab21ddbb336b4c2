use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::Serialize;

use crate::{
    Error, Result,
    mds::{Dtype, Index, Range, ShardInfo, WriterOptions},
    order::{Permutation, key},
};

/// The column of a CSV file that holds the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelColumn {
    /// The first one.
    First,
    /// The last one.
    Last,
    /// By the name in the header.
    Name(String),
    /// By its number, from 0.
    Index(usize),
}

/// Which rows go where.
#[derive(Debug, Clone, PartialEq)]
pub enum Splits {
    /// All rows into one split; an empty name puts it at the dataset's root.
    One(String),
    /// Rows are shuffled by the seed and dealt out: each split gets its fraction, the last one the rest. Inside a split
    /// they keep the order of the file.
    Fractions {
        /// Seed of the shuffle.
        seed: u64,
        /// Names and fractions, which add up to 1.
        shares: Vec<(String, f64)>,
    },
}

/// How to pack a CSV file.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// A `.csv` file, possibly gzipped.
    pub input: PathBuf,
    /// URI of the dataset to make.
    pub output: String,
    /// Whether the first line holds names.
    pub header: bool,
    /// The label, an integer.
    pub label: LabelColumn,
    /// Name of the label's column. Default `label`.
    pub label_name: String,
    /// Name of the features' column. Default `x`.
    pub feature_name: String,
    /// Number type of the features. Default [`Dtype::F32`].
    pub dtype: Dtype,
    /// Shape of a row's features; default: a vector of them all.
    pub shape: Option<Vec<u32>>,
    /// Default: one split, `train`.
    pub splits: Splits,
    /// Shard size, compression, hashes.
    pub writer: WriterOptions,
    /// Where the data is from; kept in the index.
    pub source: Option<String>,
}

impl PackOptions {
    /// The defaults.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            header: false,
            label: LabelColumn::Last,
            label_name: "label".into(),
            feature_name: "x".into(),
            dtype: Dtype::F32,
            shape: None,
            splits: Splits::One("train".into()),
            writer: WriterOptions::default(),
            source: None,
        }
    }
}

/// What was packed.
#[derive(Debug, Clone, Serialize)]
pub struct PackReport {
    /// URI of the dataset.
    pub uri: String,
    /// Its splits.
    pub splits: Vec<PackedSplit>,
    /// Smallest and largest value of each column.
    pub ranges: BTreeMap<String, Range>,
}

/// One split that was packed.
#[derive(Debug, Clone, Serialize)]
pub struct PackedSplit {
    /// Its name.
    pub name: String,
    /// Number of samples; of tokens, where text was packed.
    pub samples: u64,
    /// Number of shards.
    pub shards: usize,
    /// Size of the shards as they are stored.
    pub stored_bytes: u64,
    /// See [`Dataset::digest`](crate::Dataset::digest).
    pub digest: String,
    /// Samples of each label.
    pub labels: BTreeMap<i64, u64>,
}

/// First place after each share of `rows`.
///
/// # Errors
/// [`Error::BadOption`] for shares that don't add up, or names that are not distinct.
pub(crate) fn ends(shares: &[(String, f64)], rows: u64) -> Result<Vec<u64>> {
    let total: f64 = shares.iter().map(|(_, fraction)| fraction).sum();
    let positive = shares.iter().all(|(_, fraction)| *fraction > 0.0);
    if shares.is_empty() || !positive || (total - 1.0).abs() > 1e-6 {
        return Err(Error::option("split fractions", "positive and add up to 1", format!("{shares:?}")));
    }
    let names: BTreeSet<_> = shares.iter().map(|(name, _)| name).collect();
    if names.len() < shares.len() {
        return Err(Error::option("split names", "distinct", format!("{shares:?}")));
    }
    let mut so_far = 0.0;
    let mut ends: Vec<u64> = shares
        .iter()
        .map(|(_, fraction)| {
            so_far += fraction;
            (rows as f64 * so_far).round() as u64
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        *last = rows;
    }
    Ok(ends)
}

impl PackedSplit {
    pub(crate) fn new(name: &str, index: &Index, labels: BTreeMap<i64, u64>) -> Self {
        let stored = |shard: &ShardInfo| shard.zip_data.as_ref().unwrap_or(&shard.raw_data).bytes;
        Self {
            name: name.to_owned(),
            samples: index.shards.iter().map(|shard| shard.samples).sum(),
            shards: index.shards.len(),
            stored_bytes: index.shards.iter().map(stored).sum(),
            digest: index.digest(),
            labels,
        }
    }
}

/// Says for each row which split it belongs to.
#[derive(Debug)]
pub(crate) struct Deal {
    names: Vec<String>,
    /// First place after each split, in the shuffled order.
    ends: Vec<u64>,
    shuffle: Option<Permutation>,
}

impl Deal {
    pub(crate) fn new(splits: &Splits, rows: u64) -> Result<Self> {
        let (seed, shares) = match splits {
            Splits::One(name) => {
                return Ok(Self { names: vec![name.clone()], ends: vec![rows], shuffle: None });
            }
            Splits::Fractions { seed, shares } => (*seed, shares),
        };
        let ends = ends(shares, rows)?;
        let names = shares.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { names, ends, shuffle: Some(Permutation::new(rows, key(seed, &[rows]))) })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of the split of a row, which must be below the number of rows.
    pub(crate) fn split_of(&self, row: u64) -> usize {
        let place = self.shuffle.as_ref().map_or(row, |shuffle| shuffle.at(row));
        self.ends.partition_point(|end| *end <= place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_dealt_exactly_and_reproducibly() {
        let shares = vec![("train".to_owned(), 0.8), ("test".to_owned(), 0.2)];
        let deal = |seed| Deal::new(&Splits::Fractions { seed, shares: shares.clone() }, 1797).unwrap();
        let splits = |seed| (0..1797).map(|row| deal(seed).split_of(row)).collect::<Vec<_>>();
        let first = splits(1);
        assert_eq!(first.iter().filter(|split| **split == 0).count(), 1438);
        assert_eq!(first, splits(1));
        assert_ne!(first, splits(2));
        assert!(first[..100].contains(&1) && first[1697..].contains(&0), "rows are shuffled");
    }

    #[test]
    fn fractions_must_add_up() {
        for shares in
            [vec![], vec![("a".to_owned(), 0.5)], vec![("a".to_owned(), 1.5), ("b".to_owned(), -0.5)]]
        {
            assert!(Deal::new(&Splits::Fractions { seed: 0, shares }, 10).is_err());
        }
    }
}
