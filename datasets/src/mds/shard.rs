use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use crate::{
    Error, Result,
    batch::Column,
    cache::Taken,
    mds::{
        ColumnSpec, Flaw, Layout,
        layout::offsets,
        sample::{append, parse_sample},
    },
};

/// A shard up to this size stays in memory: a system call for each of its small samples costs more than decoding them.
/// A loader keeps a few hundred shards open, so that is some 16 MiB at most.
const IN_MEMORY_BYTES: usize = 64 << 10;

/// A raw shard whose content was verified: where its samples lie in memory, the samples read one by one.
#[derive(Debug)]
pub(crate) struct Shard {
    uri: String,
    content: Content,
    layout: Layout,
    columns: Arc<[ColumnSpec]>,
}

#[derive(Debug)]
enum Content {
    InMemory {
        content: Box<[u8]>,
        _room: Option<Taken>,
    },
    /// Kept open: the samples stay readable when the cache drops the file.
    OnDisk(File),
}

impl Shard {
    /// `content` was read from or written to `file` and verified, and `layout` is its own; `uri` is its origin, for
    /// messages.
    pub(crate) fn open(
        file: File,
        content: Vec<u8>,
        uri: String,
        layout: Layout,
        columns: Arc<[ColumnSpec]>,
    ) -> Self {
        let content = if content.len() <= IN_MEMORY_BYTES {
            Content::InMemory { content: content.into(), _room: None }
        } else {
            Content::OnDisk(file)
        };
        Self { uri, content, layout, columns }
    }

    /// Without a file, however large; `room` is what that it takes.
    pub(crate) fn in_memory(
        content: Vec<u8>,
        room: Taken,
        uri: String,
        layout: Layout,
        columns: Arc<[ColumnSpec]>,
    ) -> Self {
        let content = Content::InMemory { content: content.into(), _room: Some(room) };
        Self { uri, content, layout, columns }
    }

    /// Decodes the wanted columns of a row, which is the sample `sample` of the dataset, and appends them. If `lenient`, a
    /// column that can't be read is left out instead, with the reason.
    pub(crate) fn append(
        &self,
        row: u64,
        sample: u64,
        wanted: &[usize],
        columns: &mut [Column],
        lenient: bool,
    ) -> Result<()> {
        let Some(Range { start, end }) = self.layout.row(row) else {
            return Err(Flaw::new(0, format_args!("row {row}"), self.layout.rows()).in_file(&self.uri, 0));
        };
        let mut read = Vec::new();
        let data = match &self.content {
            // The layout was checked against the content.
            Content::InMemory { content, .. } => &content[start as usize..end as usize],
            Content::OnDisk(file) => {
                read.resize((end - start) as usize, 0);
                file.read_exact_at(&mut read, start).map_err(Error::io("read", &self.uri))?;
                &read
            }
        };
        let named =
            |flaw: Flaw| flaw.in_row(row as usize).in_shard(&self.uri, start, sample.saturating_sub(row));
        let mut on_flaw = |column: &mut Column, flaw: Flaw| {
            if lenient {
                column.leave_out(named(flaw).to_string());
                return Ok(());
            }
            Err(flaw)
        };
        append(&self.columns, data, wanted, columns, &mut on_flaw).map_err(named)
    }
}

/// Decodes every sample of a raw shard; the number of samples.
///
/// # Errors
/// The first [`Flaw`], by its offset in `content`.
pub fn parse_shard(columns: &[ColumnSpec], content: &[u8]) -> Result<u64, Flaw> {
    let offsets = offsets(content)?;
    for (row, pair) in offsets.windows(2).enumerate() {
        let (begin, end) = (pair[0] as usize, pair[1] as usize);
        parse_sample(columns, &content[begin..end]).map_err(|flaw| flaw.moved(begin).in_row(row))?;
    }
    Ok(offsets.len() as u64 - 1)
}
