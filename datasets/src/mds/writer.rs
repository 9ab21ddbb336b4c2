use serde_json::json;

use crate::{
    Error, Result,
    mds::{ColumnSpec, Compression, FileInfo, HashAlgorithm, Index, Notes, ShardInfo, Target, Value},
};

/// How shards are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// A shard is closed before it grows beyond this. Default 64 MiB, at most 4 GiB.
    pub shard_bytes: u64,
    /// Default: none.
    pub compression: Option<Compression>,
    /// Hashes of each file, raw and compressed. Default xxh64.
    pub hashes: Vec<HashAlgorithm>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { shard_bytes: 64 << 20, compression: None, hashes: vec![HashAlgorithm::Xxh64] }
    }
}

impl WriterOptions {
    /// Sorts the hashes by their names, as MDS's own tools want them, and checks the size.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.hashes.sort_by_key(HashAlgorithm::to_string);
        self.hashes.dedup();
        if self.shard_bytes == 0 || self.shard_bytes > u64::from(u32::MAX) {
            return Err(Error::option("shard size", "from 1 byte to 4 GiB", self.shard_bytes));
        }
        Ok(())
    }
}

/// Writes one split: shard after shard, the index last, so that a split is there whole or not at all.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    columns: Vec<ColumnSpec>,
    options: WriterOptions,
    config: Vec<u8>,
    rows: Vec<Vec<u8>>,
    rows_bytes: u64,
    shards: Vec<ShardInfo>,
}

impl Writer {
    /// Begins the split `split` (may be empty) of the dataset at `uri`. Columns are stored sorted by name.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is an index already.
    pub fn create(
        uri: &str,
        split: &str,
        mut columns: Vec<ColumnSpec>,
        mut options: WriterOptions,
    ) -> Result<Self> {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        options.check()?;
        if columns.is_empty() || columns.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(Error::option("columns", "distinct and at least one", columns.len()));
        }
        let writer = Self {
            target: Target::open(uri, split)?,
            config: Vec::new(),
            columns,
            options,
            rows: Vec::new(),
            rows_bytes: 0,
            shards: Vec::new(),
        };
        let config = writer.config_json();
        Ok(Self { config, ..writer })
    }

    /// The columns in the order in which `write` takes their values.
    pub fn columns(&self) -> &[ColumnSpec] {
        &self.columns
    }

    /// Adds a sample: one value for each of [`columns`](Self::columns).
    ///
    /// # Errors
    /// [`Error::Column`] when a value does not fit its column.
    pub fn write(&mut self, values: &[Value<'_>]) -> Result<()> {
        let row = self.encode(values)?;
        let grown = self.size_with(self.rows.len() as u64 + 1, self.rows_bytes + row.len() as u64);
        if grown > self.options.shard_bytes && !self.rows.is_empty() {
            self.close_shard()?;
        }
        let alone = self.size_with(1, row.len() as u64);
        if alone > u64::from(u32::MAX) {
            return Err(Error::option("a sample", "below 4 GiB", alone));
        }
        self.rows_bytes += row.len() as u64;
        self.rows.push(row);
        Ok(())
    }

    /// Writes the last shard and the index.
    ///
    /// # Errors
    /// [`Error::Empty`] when nothing was written.
    pub fn finish(self) -> Result<()> {
        self.finish_with(None).map(drop)
    }

    pub(crate) fn finish_with(mut self, notes: Option<Notes>) -> Result<Index> {
        if !self.rows.is_empty() {
            self.close_shard()?;
        }
        self.target.finish(self.shards, notes)
    }

    fn encode(&self, values: &[Value<'_>]) -> Result<Vec<u8>> {
        let (mut sizes, mut body) = (Vec::new(), Vec::new());
        if values.len() != self.columns.len() {
            return Err(Error::option("values of a sample", format!("{}", self.columns.len()), values.len()));
        }
        for (column, value) in self.columns.iter().zip(values) {
            let begin = body.len();
            value
                .encode(&column.encoding, &mut body)
                .map_err(|reason| Error::Column { name: column.name.clone(), reason })?;
            if column.encoding.fixed_bytes().is_none() {
                sizes.extend(((body.len() - begin) as u32).to_le_bytes());
            }
        }
        sizes.append(&mut body);
        Ok(sizes)
    }

    fn size_with(&self, rows: u64, bytes: u64) -> u64 {
        4 + 4 * (rows + 1) + self.config.len() as u64 + bytes
    }

    fn close_shard(&mut self) -> Result<()> {
        let raw = self.raw_shard();
        let number = self.shards.len();
        let raw_data = FileInfo::new(format!("shard.{number:05}.mds"), &raw, &self.options.hashes);
        let mut zip_data = None;
        let file = match self.options.compression {
            None => raw,
            Some(compression) => {
                let name = format!("{}.{}", raw_data.basename, compression.extension());
                let zip = compression.compress(&raw).map_err(Error::io("compress", &name))?;
                zip_data = Some(FileInfo::new(name, &zip, &self.options.hashes));
                zip
            }
        };
        let stored = zip_data.as_ref().unwrap_or(&raw_data);
        self.target.put(&stored.basename, file)?;
        self.shards.push(ShardInfo {
            column_encodings: self.columns.iter().map(|column| column.encoding.to_string()).collect(),
            column_names: self.columns.iter().map(|column| column.name.clone()).collect(),
            column_sizes: self.columns.iter().map(|column| column.encoding.fixed_bytes()).collect(),
            compression: self.options.compression.map(|compression| compression.to_string()),
            format: "mds".into(),
            hashes: self.options.hashes.iter().map(HashAlgorithm::to_string).collect(),
            raw_data,
            samples: self.rows.len() as u64,
            size_limit: Some(self.options.shard_bytes),
            version: 2,
            zip_data,
        });
        self.rows.clear();
        self.rows_bytes = 0;
        Ok(())
    }

    fn raw_shard(&self) -> Vec<u8> {
        let mut offset = self.size_with(self.rows.len() as u64, 0) as u32;
        let mut raw = (self.rows.len() as u32).to_le_bytes().to_vec();
        raw.extend(offset.to_le_bytes());
        for row in &self.rows {
            offset += row.len() as u32;
            raw.extend(offset.to_le_bytes());
        }
        raw.extend(&self.config);
        raw.extend(self.rows.iter().flatten());
        raw
    }

    /// What MDS's own writer puts between offsets and samples; readers take it from the index instead.
    fn config_json(&self) -> Vec<u8> {
        let columns = &self.columns;
        json!({
            "column_encodings": columns.iter().map(|c| c.encoding.to_string()).collect::<Vec<_>>(),
            "column_names": columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            "column_sizes": columns.iter().map(|c| c.encoding.fixed_bytes()).collect::<Vec<_>>(),
            "compression": self.options.compression.map(|compression| compression.to_string()),
            "format": "mds",
            "hashes": self.options.hashes.iter().map(HashAlgorithm::to_string).collect::<Vec<_>>(),
            "size_limit": self.options.shard_bytes,
            "version": 2,
        })
        .to_string()
        .into_bytes()
    }
}
