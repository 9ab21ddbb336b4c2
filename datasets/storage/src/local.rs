use std::{
    fs::{self, File, Metadata, Permissions, TryLockError},
    io::{self, ErrorKind, Write},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use walkdir::WalkDir;

use crate::{
    Created, Error, Limits, Meta, RECORD_BYTES, Result, Storage,
    file::{Refusal, Threads, check_kind, is_link_loop, open_file, read_exactly},
    path::{self, TEMP_PREFIX},
    settle,
};

const PLAIN: u32 = 0o666;
const SECRET: u32 = 0o600;

/// Files below a folder, which is made when first written to.
///
/// A file is written under a temporary name, synced, and then renamed; a create renames without replacing (a hard link
/// where the file system lacks that), which one racer wins. Temporary files of a killed writer stay hidden from `list`.
#[derive(Debug, Clone)]
pub(crate) struct LocalFiles {
    root: PathBuf,
    limits: Limits,
    threads: Threads,
}

impl LocalFiles {
    pub(crate) fn new(root: PathBuf, limits: Limits) -> Self {
        Self { root, limits, threads: Threads::new() }
    }

    fn file(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// Runs blocking file work within the deadline. A disk that hangs can't be interrupted, but nobody waits for it.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        bytes: u64,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        path::check(&self.uri(""), path)?;
        self.run_unchecked(operation, path, bytes, work).await
    }

    async fn run_unchecked<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        bytes: u64,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = self.file(path);
        let done = async {
            let done = self.threads.run(move || work(&file)).await;
            done.map_err(|error| Error::from_io(self.uri(path), operation, &error))
        };
        self.limits.bound(|| self.uri(path), operation, bytes, done).await
    }

    async fn create_with_mode(&self, path: &str, body: Bytes, mode: u32) -> Result<Created> {
        path::check_new(&self.uri(""), path)?;
        let put = || {
            let body = body.clone();
            self.run("create", path, body.len() as u64, move |file| write_new(file, &body, mode))
        };
        let most = RECORD_BYTES.max(body.len() as u64);
        settle::create(&body, put, || self.get_at_most(path, most)).await
    }

    /// The size comes from the handle that is read, before anything is read.
    async fn read(&self, path: &str, listed: Option<Meta>, max: u64) -> Result<Bytes> {
        let bytes = match &listed {
            Some(listed) => listed.bytes,
            None => self.head(path).await?.bytes,
        };
        self.run("get", path, bytes.min(max), move |file| {
            let mut file = absent_if_folder(open_file(file))?;
            let found = file.metadata()?;
            let same = |found: &Metadata| {
                listed.as_ref().is_none_or(|listed| {
                    listed.bytes == found.len() && (listed.etag.is_none() || listed.etag == Some(etag(found)))
                })
            };
            if !same(&found) {
                return Err(Refusal::Changed.into());
            }
            if found.len() > max {
                return Err(Refusal::TooLarge { bytes: found.len(), max }.into());
            }
            match read_exactly(&mut file, found.len())? {
                Some(body) if same(&file.metadata()?) => Ok(Bytes::from(body)),
                _ => Err(Refusal::Changed.into()),
            }
        })
        .await
    }
}

#[async_trait]
impl Storage for LocalFiles {
    fn uri(&self, path: &str) -> String {
        self.file(path).display().to_string()
    }

    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes> {
        self.read(path, None, max).await
    }

    async fn get_listed(&self, listed: &Meta) -> Result<Bytes> {
        self.read(&listed.path, Some(listed.clone()), listed.bytes).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.head(path).await?.bytes;
        let (start, end) = (range.start, range.end);
        if start > end || end > bytes {
            return Err(Error::OutOfRange { uri: self.uri(path), start, end, bytes });
        }
        self.run("get", path, end - start, move |file| {
            let mut body = vec![0; (end - start) as usize];
            open_file(file)?.read_exact_at(&mut body, start)?;
            Ok(Bytes::from(body))
        })
        .await
    }

    async fn head(&self, path: &str) -> Result<Meta> {
        let look = |file: &Path| {
            let found = fs::metadata(file)?;
            check_kind(found.file_type()).map(|()| found)
        };
        let found = self.run("head", path, 0, move |file| absent_if_folder(look(file))).await?;
        Ok(meta(path.to_owned(), &found))
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        self.create_with_mode(path, body, PLAIN).await
    }

    async fn create_secret(&self, path: &str, body: Bytes) -> Result<Created> {
        self.create_with_mode(path, body, SECRET).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        path::check_new(&self.uri(""), path)?;
        self.run("put", path, body.len() as u64, move |file| {
            write_temp(file, &body, PLAIN)?.persist(file).map_err(|failed| failed.error)?;
            sync_folder(folder_of(file))
        })
        .await
    }

    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool> {
        let (path, expected) = (&old.path, old.etag.clone());
        path::check_new(&self.uri(""), path)?;
        self.run("replace", path, body.len() as u64, move |file| swap(file, expected.as_deref(), &body)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        let (root, until) = (self.root.clone(), Instant::now() + self.limits.call);
        self.run_unchecked("list", folder, 0, move |start| walk(&root, start, until)).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        self.run_unchecked("list", folder, 0, folders_of).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.run("delete", path, 0, |file| match absent_if_folder(fs::remove_file(file)) {
            Ok(()) => sync_folder(folder_of(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }
}

/// `Ok(false)`: the path is taken.
fn write_new(file: &Path, body: &[u8], mode: u32) -> io::Result<bool> {
    if file.try_exists()? {
        return Ok(false);
    }
    match write_temp(file, body, mode)?.persist_noclobber(file) {
        Ok(_) => sync_folder(folder_of(file)).map(|()| true),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(failed.error),
    }
}

/// `Ok(false)`: another file is there by now. The lock on the old file keeps out everyone else who replaces it; where the
/// file system has no locks, the comparison alone stands.
fn swap(path: &Path, expected: Option<&str>, body: &[u8]) -> io::Result<bool> {
    let old = match absent_if_folder(open_file(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        old => old?,
    };
    if matches!(old.try_lock(), Err(TryLockError::WouldBlock)) {
        return Ok(false);
    }
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    if expected != Some(etag(&there).as_str()) {
        return Ok(false);
    }
    let temp = write_temp(path, body, PLAIN)?;
    temp.as_file().set_permissions(there.permissions())?;
    temp.persist(path).map_err(|failed| failed.error)?;
    sync_folder(folder_of(path)).map(|()| true)
}

fn write_temp(file: &Path, body: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let folder = folder_of(file);
    make_folder(folder)?;
    let mut temp = tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(without_name)?;
    temp.as_file_mut().write_all(body)?;
    temp.as_file().sync_all()?;
    Ok(temp)
}

/// The error without the temporary name: one that tells another name each time is another error each time.
fn without_name(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|named| named.source()?.downcast_ref::<io::Error>()?.raw_os_error());
    inner.map_or(error, io::Error::from_raw_os_error)
}

/// Makes a folder and the missing ones above it; each name is synced into its parent.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    if parent != folder {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A folder where a file is looked for, a file where a folder is, or a link in a circle: the object does not exist.
fn absent_if_folder<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => io::Error::from(ErrorKind::NotFound),
        _ if is_link_loop(&error) => io::Error::from(ErrorKind::NotFound),
        _ => error,
    })
}

fn meta(path: String, found: &Metadata) -> Meta {
    let version = format!("{:x}.{:x}", found.mtime(), found.mtime_nsec());
    Meta { path, bytes: found.len(), etag: Some(etag(found)), version: Some(version) }
}

/// The time of the last change of anything is in it too: times of content can be set back.
fn etag(found: &Metadata) -> String {
    let (ino, bytes) = (found.ino(), found.len());
    let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    format!("{ino:x}-{:x}.{:x}-{:x}.{:x}-{bytes:x}", mtime.0, mtime.1, ctime.0, ctime.1)
}

fn walk(root: &Path, start: &Path, until: Instant) -> io::Result<Vec<Meta>> {
    let mut objects = Vec::new();
    let ours = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_str().is_some_and(path::is_foreign)
    };
    for entry in WalkDir::new(start).follow_links(true).into_iter().filter_entry(ours) {
        // Nobody waits any longer; links may multiply the folders without end.
        if Instant::now() > until {
            return Err(ErrorKind::TimedOut.into());
        }
        let (entry, found) = match entry.and_then(|entry| entry.metadata().map(|found| (entry, found))) {
            Ok(pair) => pair,
            Err(error) if leads_nowhere(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        if !found.is_file() || entry.depth() == 0 {
            continue;
        }
        if let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str) {
            objects.push(meta(path.to_owned(), &found));
        }
    }
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(objects)
}

/// Deleted while we walk, a folder that was never there, or a link to nothing or to a folder that it lies in.
fn leads_nowhere(error: &walkdir::Error) -> bool {
    let nowhere = |e: &io::Error| e.kind() == ErrorKind::NotFound || is_link_loop(e);
    error.loop_ancestor().is_some() || error.io_error().is_some_and(nowhere)
}

fn folders_of(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match absent_if_folder(fs::read_dir(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Not the entry's own type: a link to a folder counts as one.
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
            names.extend(Some(name).filter(|name| !path::is_foreign(name)));
        }
    }
    names.sort();
    Ok(names)
}
