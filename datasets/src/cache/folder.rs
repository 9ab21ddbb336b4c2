//! One dataset's folder in a node's cache: what lies where, and who may touch it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lockstep_storage::open_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Dataset, Error, Result,
    cache::{
        budget::victims,
        lease::{Lease, sweep},
    },
};

/// Unfinished files are removed when their writer must be long gone.
const STALE: Duration = Duration::from_secs(3600);

const TEMP_PREFIX: &str = ".tmp-";

/// No note is longer; it bounds what a wrong file can make us read.
const MAX_NOTE_BYTES: u64 = 4096;

/// Where shards are kept on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// A folder that all ranks of the node share; each dataset gets one below it, for what it is known by, where it is
    /// from, and this user.
    pub dir: PathBuf,
    /// Shards are dropped before a dataset holds more than this; `None` keeps all.
    pub max_bytes: Option<u64>,
}

/// What is kept beside a shard where the index has no hashes: which object it is a copy of, and its content's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub etag: Option<String>,
    pub hash: String,
}

/// A cached copy: its content, and the handle that it was read from, so that nobody can put another file in between.
#[derive(Debug)]
pub(crate) struct Copy {
    pub file: File,
    pub raw: Vec<u8>,
    pub note: Option<Note>,
}

#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    _lease: Lease,
    max_bytes: Option<u64>,
    warned: AtomicBool,
}

impl Folder {
    /// The folder of this dataset: named by where it is from and by what it is known by, and by the user, since the files
    /// are for their owner only. What was there before it at the same place goes, unless somebody still uses it.
    pub(crate) fn open(dataset: &Dataset, options: &CacheOptions) -> Result<Self> {
        let short = |text: &str| hex::encode(&Sha256::digest(text)[..8]);
        let user = rustix::process::geteuid().as_raw();
        let (begin, end) = (format!("{}-", short(&dataset.uri())), format!("-{user}"));
        let name = format!("{begin}{}{end}", short(dataset.digest()));
        let dir = options.dir.join(&name);
        fs::create_dir_all(&options.dir).map_err(Error::io("make", &options.dir))?;
        let make = || make_private(&dir).and_then(|()| make_private(&dir.join("locks")));
        let lease = Lease::take(&dir, make)?;
        sweep(&options.dir, |other| other != name && other.starts_with(&begin) && other.ends_with(&end));
        remove_stale(&dir);
        Ok(Self { dir, _lease: lease, max_bytes: options.max_bytes, warned: AtomicBool::new(false) })
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.max_bytes.is_some()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("shard.{number:05}.mds"))
    }

    pub(crate) fn lock(&self, number: usize) -> PathBuf {
        self.dir.join("locks").join(format!("{number:05}"))
    }

    fn note(&self, number: usize) -> PathBuf {
        self.dir.join(format!("shard.{number:05}.json"))
    }

    /// `None` when there is no copy of that size.
    pub(crate) fn read(&self, number: usize, bytes: u64) -> io::Result<Option<Copy>> {
        let Some((file, raw)) = read_at_most(&self.path(number), bytes)? else { return Ok(None) };
        let note = read_at_most(&self.note(number), MAX_NOTE_BYTES)?;
        let note = note.and_then(|(_, text)| serde_json::from_slice(&text).ok());
        Ok(Some(Copy { file, raw, note }))
    }

    /// Keeps a shard, and returns the handle that it was written to. On a full disk others make room.
    pub(crate) fn write(
        &self,
        number: usize,
        raw: &[u8],
        note: Option<&Note>,
        next_use: &[u64],
    ) -> io::Result<File> {
        if let Some(max) = self.max_bytes {
            self.make_room(raw.len() as u64, max, next_use)?;
        }
        match self.try_write(number, raw, note) {
            Err(full) if matches!(full.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let held = self.present()?.iter().map(|(_, bytes)| bytes).sum();
                self.make_room(raw.len() as u64, held, next_use)?;
                self.try_write(number, raw, note)
            }
            done => done,
        }
    }

    fn try_write(&self, number: usize, raw: &[u8], note: Option<&Note>) -> io::Result<File> {
        let temp = |content: &[u8]| {
            let mut temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(&self.dir)?;
            temp.write_all(content)?;
            io::Result::Ok(temp)
        };
        let shard = temp(raw)?;
        if let Some(note) = note {
            temp(&serde_json::to_vec(note)?)?.persist(self.note(number)).map_err(|failed| failed.error)?;
        }
        shard.persist(self.path(number)).map_err(|failed| failed.error)
    }

    /// Drops a copy; fine if there is none.
    pub(crate) fn remove(&self, number: usize) -> io::Result<()> {
        for path in [self.path(number), self.note(number)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        Ok(())
    }

    fn present(&self) -> io::Result<Vec<(usize, u64)>> {
        let cached = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("shard.")?.strip_suffix(".mds")?.parse().ok()?;
            Some((number, entry.metadata().ok()?.len()))
        };
        Ok(fs::read_dir(&self.dir)?.flatten().filter_map(cached).collect())
    }

    fn make_room(&self, incoming: u64, max: u64, next_use: &[u64]) -> io::Result<()> {
        for shard in victims(&self.present()?, incoming, max, next_use) {
            if next_use.get(shard) == Some(&0) && !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    cache = %self.dir.display(), max_bytes = max,
                    "the data cache is smaller than what is in use at once; shards will be fetched repeatedly"
                );
            }
            self.remove(shard)?;
        }
        Ok(())
    }
}

/// A whole regular file; `None` where there is none, or a larger one.
fn read_at_most(path: &Path, max: u64) -> io::Result<Option<(File, Vec<u8>)>> {
    let mut file = match open_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.metadata()?.len() > max {
        return Ok(None);
    }
    let mut content = Vec::new();
    (&mut file).take(max).read_to_end(&mut content)?;
    Ok(Some((file, content)))
}

/// Makes a folder for this user only. Names in it are predictable and its parent may be everybody's: one that somebody
/// else made there, or a link, is not used.
fn make_private(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Error::io("make", dir)(error)),
        _ => (),
    }
    let found = fs::symlink_metadata(dir).map_err(Error::io("look at", dir))?;
    let user = rustix::process::geteuid().as_raw();
    let reason = if !found.is_dir() {
        "it is a link or a file".to_owned()
    } else if found.uid() != user {
        format!("it belongs to user {}, but this is user {user}", found.uid())
    } else if found.mode() & 0o022 != 0 {
        format!("others may write to it: its mode is {:o}", found.mode() & 0o777)
    } else {
        return Ok(());
    };
    Err(Error::CacheFolder { dir: dir.to_owned(), reason })
}

/// Leftovers of killed processes. Only tidiness depends on it, so errors don't matter.
fn remove_stale(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let temp = entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX);
        let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        if temp && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
