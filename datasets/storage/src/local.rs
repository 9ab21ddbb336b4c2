use std::{
    fs::{self, File, Metadata, Permissions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use walkdir::WalkDir;

use crate::{
    Created, Error, Limits, Meta, Result, Storage,
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
}

impl LocalFiles {
    pub(crate) fn new(root: PathBuf, limits: Limits) -> Self {
        Self { root, limits }
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
            match tokio::task::spawn_blocking(move || work(&file)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(Error::from_io(self.uri(path), operation, &error)),
                Err(gone) => {
                    Err(Error::Unavailable { uri: self.uri(path), operation, reason: gone.to_string() })
                }
            }
        };
        self.limits.bound(|| self.uri(path), operation, bytes, done).await
    }

    async fn create_with_mode(&self, path: &str, body: Bytes, mode: u32) -> Result<Created> {
        let put = || {
            let body = body.clone();
            self.run("create", path, body.len() as u64, move |file| write_new(file, &body, mode))
        };
        settle::create(&body, put, || self.get(path)).await
    }
}

#[async_trait]
impl Storage for LocalFiles {
    fn uri(&self, path: &str) -> String {
        self.file(path).display().to_string()
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let bytes = self.head(path).await?.bytes;
        self.run("get", path, bytes, |file| Ok(Bytes::from(absent_if_folder(fs::read(file))?))).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.head(path).await?.bytes;
        let (start, end) = (range.start, range.end);
        if start > end || end > bytes {
            return Err(Error::OutOfRange { uri: self.uri(path), start, end, bytes });
        }
        self.run("get", path, end - start, move |file| {
            let mut file = File::open(file)?;
            file.seek(SeekFrom::Start(start))?;
            let mut body = vec![0; (end - start) as usize];
            file.read_exact(&mut body)?;
            Ok(Bytes::from(body))
        })
        .await
    }

    async fn head(&self, path: &str) -> Result<Meta> {
        let found = self.run("head", path, 0, |file| absent_if_folder(fs::metadata(file))).await?;
        if found.is_dir() {
            return Err(Error::NotFound { uri: self.uri(path) });
        }
        Ok(meta(path.to_owned(), &found))
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        self.create_with_mode(path, body, PLAIN).await
    }

    async fn create_secret(&self, path: &str, body: Bytes) -> Result<Created> {
        self.create_with_mode(path, body, SECRET).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        self.run("put", path, body.len() as u64, move |file| {
            write_temp(file, &body, PLAIN)?.persist(file).map_err(|failed| failed.error)?;
            sync_folder(folder_of(file))
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        let root = self.root.clone();
        self.run_unchecked("list", folder, 0, move |start| walk(&root, start)).await
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

fn write_temp(file: &Path, body: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let folder = folder_of(file);
    make_folder(folder)?;
    let mut temp = tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    temp.write_all(body)?;
    temp.as_file().sync_all()?;
    Ok(temp)
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

/// A folder where a file is looked for, or a file where a folder is, means that the object does not exist.
fn absent_if_folder<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => io::Error::from(ErrorKind::NotFound),
        _ => error,
    })
}

fn meta(path: String, found: &Metadata) -> Meta {
    let etag = format!("{:x}-{:x}.{:x}-{:x}", found.ino(), found.mtime(), found.mtime_nsec(), found.len());
    Meta { path, bytes: found.len(), etag: Some(etag) }
}

fn walk(root: &Path, start: &Path) -> io::Result<Vec<Meta>> {
    let mut objects = Vec::new();
    for entry in WalkDir::new(start).follow_links(true) {
        let (entry, found) = match entry.and_then(|entry| entry.metadata().map(|found| (entry, found))) {
            Ok(pair) => pair,
            // Deleted while we walk, or a folder that was never there.
            Err(error) if error.io_error().is_some_and(|e| e.kind() == ErrorKind::NotFound) => continue,
            Err(error) => return Err(error.into()),
        };
        let hidden = entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX);
        if !found.is_file() || hidden || entry.depth() == 0 {
            continue;
        }
        if let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str) {
            objects.push(meta(path.to_owned(), &found));
        }
    }
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(objects)
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
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
