//! Folders of token files without an index.

use std::sync::Arc;

use lockstep_storage::{Meta, Storage};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Error, Result,
    mds::{FileInfo, Flaw, INDEX, Index, ShardInfo},
    tokens::{
        header::{HEADER_BYTES, TokenFile, parse_token_header},
        writer::is_file_name,
    },
};

/// Headers that are read at the same time.
const AT_ONCE: usize = 16;

const EXTENSION: &str = ".bin";
/// Words of a file's name that say what it is for.
const TRAIN: [&str; 2] = ["train", "training"];
const EVAL: [&str; 6] = ["val", "valid", "validation", "test", "eval", "dev"];

/// The files of `found` that lie in `folder` itself and may hold tokens, in their order.
fn files<'a>(folder: &'a str, found: &'a [Meta]) -> impl Iterator<Item = (&'a str, &'a Meta)> {
    found.iter().filter_map(move |meta| {
        let name = match folder {
            "" => &meta.path,
            folder => meta.path.strip_prefix(folder)?.strip_prefix('/')?,
        };
        (name.ends_with(EXTENSION) && !name.contains('/')).then_some((name, meta))
    })
}

/// Whether there is a token file to read in `folder`.
pub(crate) fn holds_files(folder: &str, found: &[Meta]) -> bool {
    files(folder, found).next().is_some()
}

/// The index that the token files of `found` in `folder` would have, without hashes. Of each file only the header is read.
///
/// # Errors
/// [`Error::NoTokens`] without files, [`Error::Unfinished`], [`Error::MixedSplits`], [`Error::HugeFile`], [`Error::Format`], [`Error::Index`] for
/// files of different number types, [`Error::Storage`].
pub(crate) async fn make_index(storage: &Arc<dyn Storage>, folder: &str, found: &[Meta]) -> Result<Index> {
    let files: Vec<(&str, &Meta)> = files(folder, found).collect();
    if files.is_empty() {
        return Err(Error::NoTokens { uri: storage.uri(folder) });
    }
    // What a packer or a copy leaves behind halfway must not look like a whole dataset.
    if let Some((_, ours)) = files.iter().find(|(name, _)| is_file_name(name)) {
        let index = if folder.is_empty() { INDEX.to_owned() } else { format!("{folder}/{INDEX}") };
        return Err(Error::Unfinished { file: storage.uri(&ours.path), index: storage.uri(&index) });
    }
    let has = |words: &[&str]| files.iter().find(|(name, _)| says(name, words)).map(|(_, meta)| meta);
    if let (Some(train), Some(eval)) = (has(&TRAIN), has(&EVAL)) {
        return Err(Error::MixedSplits { train: storage.uri(&train.path), eval: storage.uri(&eval.path) });
    }
    let mut reading = JoinSet::new();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    for (number, (_, meta)) in files.iter().enumerate() {
        let (storage, meta, room) = (storage.clone(), (*meta).clone(), room.clone());
        reading.spawn(async move {
            let _room = room.acquire_owned().await;
            (number, read_header(&storage, &meta).await)
        });
    }
    let mut headers: Vec<Option<TokenFile>> = vec![None; files.len()];
    while let Some(read) = reading.join_next().await {
        let (number, header) = read
            .map_err(|gone| Error::io("read headers in", storage.uri(folder))(std::io::Error::other(gone)))?;
        headers[number] = Some(header?);
    }
    let mut shards: Vec<ShardInfo> = Vec::new();
    for ((name, meta), file) in files.into_iter().zip(headers.into_iter().flatten()) {
        let raw_data = FileInfo { basename: name.to_owned(), bytes: meta.bytes, ..FileInfo::default() };
        let shard = ShardInfo::of_tokens(file, raw_data);
        if let Some(first) = shards.first().filter(|first| first.column_encodings != shard.column_encodings) {
            let reason = format!(
                "its tokens are {}, but those of {} are {}; put them into folders of their own",
                shard.column_encodings.concat(),
                first.raw_data.basename,
                first.column_encodings.concat()
            );
            return Err(Error::Index { file: storage.uri(&meta.path), reason });
        }
        shards.push(shard);
    }
    Ok(Index { version: 2, shards, lockstep: None })
}

async fn read_header(storage: &Arc<dyn Storage>, meta: &Meta) -> Result<TokenFile> {
    let file = storage.uri(&meta.path);
    if meta.bytes > u64::from(u32::MAX) {
        return Err(Error::HugeFile { file, bytes: meta.bytes });
    }
    let head = match meta.bytes {
        0 => Default::default(),
        bytes => storage.get_range(&meta.path, 0..bytes.min(HEADER_BYTES)).await?,
    };
    parse_token_header(&head, meta.bytes).map_err(|flaw: Flaw| flaw.in_file(&file, 0))
}

/// Whether one of the words is a word of a file's name.
fn says(name: &str, words: &[&str]) -> bool {
    name.split(|c: char| !c.is_ascii_alphabetic())
        .any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
}
