use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use crate::{
    Error, Result,
    batch::Column,
    cache::Taken,
    mds::{
        ColumnSpec, Flaw,
        flaw::take_u32,
        sample::{append, parse_sample},
    },
};

/// A shard up to this size stays in memory: a system call for each of its small samples costs more than decoding them.
/// A loader keeps a few hundred shards open, so that is some 16 MiB at most.
const IN_MEMORY_BYTES: usize = 64 << 10;

/// A raw shard whose content was verified: its offsets in memory, its samples read one by one.
#[derive(Debug)]
pub(crate) struct Shard {
    uri: String,
    content: Content,
    offsets: Vec<u32>,
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
    /// `content` was read from or written to `file` and verified; `uri` is its origin, for messages.
    pub(crate) fn open(
        file: File,
        content: Vec<u8>,
        uri: String,
        samples: u64,
        columns: Arc<[ColumnSpec]>,
    ) -> Result<Self> {
        let offsets = checked_offsets(&content, &uri, samples)?;
        let content = if content.len() <= IN_MEMORY_BYTES {
            Content::InMemory { content: content.into(), _room: None }
        } else {
            Content::OnDisk(file)
        };
        Ok(Self { uri, content, offsets, columns })
    }

    /// Without a file, however large; `room` is what that it takes.
    pub(crate) fn in_memory(
        content: Vec<u8>,
        room: Taken,
        uri: String,
        samples: u64,
        columns: Arc<[ColumnSpec]>,
    ) -> Result<Self> {
        let offsets = checked_offsets(&content, &uri, samples)?;
        let content = Content::InMemory { content: content.into(), _room: Some(room) };
        Ok(Self { uri, content, offsets, columns })
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
        let row = row as usize;
        let [Some(begin), Some(end)] = [self.offsets.get(row), self.offsets.get(row + 1)] else {
            return Err(Flaw::new(0, format_args!("row {row}"), self.offsets.len() - 1).in_file(&self.uri, 0));
        };
        let mut read = Vec::new();
        let data = match &self.content {
            // The offsets were checked against the content.
            Content::InMemory { content, .. } => &content[*begin as usize..*end as usize],
            Content::OnDisk(file) => {
                read.resize((end - begin) as usize, 0);
                file.read_exact_at(&mut read, u64::from(*begin)).map_err(Error::io("read", &self.uri))?;
                &read
            }
        };
        let named = |flaw: Flaw| {
            flaw.in_row(row).in_shard(&self.uri, u64::from(*begin), sample.saturating_sub(row as u64))
        };
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

/// Checks that a shard's content begins as a shard does and holds `samples`.
pub(crate) fn check_header(content: &[u8], samples: u64) -> Result<(), Flaw> {
    check_count(&offsets(content)?, samples)
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

/// u32 n, then n + 1 absolute offsets that never decrease and end with the file.
fn offsets(content: &[u8]) -> Result<Vec<u32>, Flaw> {
    let mut at = 0;
    let samples = take_u32(content, &mut at, "the number of samples")? as usize;
    // Before anything is allocated: an absurd count can't be true.
    if (content.len() - at) / 4 <= samples {
        return Err(Flaw::new(
            0,
            format_args!("{samples} samples' offsets"),
            format_args!("{} bytes", content.len()),
        ));
    }
    let mut least = (8 + 4 * samples) as u32;
    let mut offsets = Vec::with_capacity(samples + 1);
    for _ in 0..=samples {
        let begin = at;
        let offset = take_u32(content, &mut at, "an offset")?;
        if offset < least || offset as usize > content.len() {
            let expected = format!("an offset from {least} to {}", content.len());
            return Err(Flaw::new(begin, expected, offset));
        }
        least = offset;
        offsets.push(offset);
    }
    if least as usize != content.len() {
        return Err(Flaw::new(at - 4, format_args!("{}, the end of the file", content.len()), least));
    }
    Ok(offsets)
}

fn checked_offsets(content: &[u8], uri: &str, samples: u64) -> Result<Vec<u32>> {
    let offsets = offsets(content).and_then(|offsets| check_count(&offsets, samples).map(|()| offsets));
    offsets.map_err(|flaw| flaw.in_file(uri, 0))
}

fn check_count(offsets: &[u32], samples: u64) -> Result<(), Flaw> {
    let found = offsets.len() as u64 - 1;
    if found == samples {
        return Ok(());
    }
    Err(Flaw::new(0, format_args!("{samples} samples, as the index says"), found))
}
