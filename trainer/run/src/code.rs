//! Code that a launch brings along: a folder, packed into the run's storage, unpacked by every agent.
//!
//! A folder with the same content has the same digest wherever and whenever it is packed: entries are sorted and carry no
//! times and no owners.

use crate::{Result, RunDir, layout};
use bytes::Bytes;
use ignore::WalkBuilder;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most that a folder's files may have in all: agents keep them in the pod's scratch space.
pub const MOST_BYTES: u64 = 256 << 20;
/// The most that an archive may hold, packed or not: beside the files' bytes, a kilobyte or two for each file.
const MOST_ARCHIVE_BYTES: u64 = 4 * MOST_BYTES;
/// Files of this name say what stays behind, like `.gitignore` does.
const IGNORE_FILE: &str = ".lockstepignore";
const LEVEL: i32 = 3;

/// A folder in one piece.
#[derive(Debug, Clone)]
pub struct Packed {
    /// blake3 of `archive`, in hexadecimal.
    pub digest: String,
    /// How many files it holds.
    pub num_files: usize,
    /// Size of all files.
    pub num_bytes: u64,
    /// A tar, compressed with zstd.
    pub archive: Bytes,
}

/// Why a folder can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It has too much in it.
    #[error(
        "{folder} holds {num_bytes} bytes, but at most {MOST_BYTES} can be brought along; the largest: {largest}"
    )]
    TooLarge {
        /// The folder.
        folder: PathBuf,
        /// Size of all its files.
        num_bytes: u64,
        /// Its largest files, with their sizes.
        largest: String,
    },
    /// It has nothing in it.
    #[error("{0} holds no files, or all of them are ignored")]
    Empty(PathBuf),
    /// A file can't be read.
    #[error("can't read {path}: {error}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Packs what a folder holds, without what `.gitignore` and `.lockstepignore` name, and without `.git`.
///
/// # Errors
/// Where it is empty, too large, or can't be read.
pub fn pack(folder: &Path) -> std::result::Result<Packed, PackError> {
    let unreadable = |path: &Path, error: io::Error| PackError::Unreadable { path: path.to_owned(), error };
    let mut files = Vec::new();
    for entry in walk(folder) {
        let entry = entry.map_err(|error| unreadable(folder, io::Error::other(error)))?;
        let metadata = entry.metadata().map_err(|error| unreadable(entry.path(), io::Error::other(error)))?;
        if metadata.is_file() || metadata.is_symlink() {
            files.push((entry.into_path(), metadata.len()));
        }
    }
    let num_bytes = files.iter().map(|(_, bytes)| bytes).sum();
    if files.is_empty() {
        return Err(PackError::Empty(folder.to_owned()));
    }
    if num_bytes > MOST_BYTES {
        return Err(PackError::TooLarge {
            folder: folder.to_owned(),
            num_bytes,
            largest: largest(folder, files),
        });
    }
    let archive = archive(folder, &files).map_err(|(path, error)| unreadable(&path, error))?;
    // A file may have grown since it was looked at.
    let num_bytes = unpacked_bytes(&archive).map_err(|error| unreadable(folder, error))?;
    let digest = blake3::hash(&archive).to_hex().to_string();
    Ok(Packed { digest, num_files: files.len(), num_bytes, archive: archive.into() })
}

fn walk(folder: &Path) -> ignore::Walk {
    WalkBuilder::new(folder)
        .hidden(false)
        .require_git(false)
        // What is ignored must not depend on who packs, nor on files that nobody was told about.
        .ignore(false)
        .git_global(false)
        .git_exclude(false)
        .parents(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Ord::cmp)
        .build()
}

fn archive(folder: &Path, files: &[(PathBuf, u64)]) -> std::result::Result<Vec<u8>, (PathBuf, io::Error)> {
    let whole = |error| (folder.to_owned(), error);
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), LEVEL).map_err(whole)?);
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    // Where a file has holes is no part of what it says.
    tar.sparse(false);
    for (path, _) in files {
        let name = path.strip_prefix(folder).unwrap_or(path);
        tar.append_path_with_name(path, name).map_err(|error| (path.clone(), error))?;
    }
    tar.into_inner().and_then(zstd::Encoder::finish).map_err(whole)
}

fn unpacked_bytes(archive: &[u8]) -> io::Result<u64> {
    let mut tar = tar::Archive::new(zstd::Decoder::new(archive)?);
    tar.entries()?.map(|entry| Ok(entry?.size())).sum()
}

fn largest(folder: &Path, mut files: Vec<(PathBuf, u64)>) -> String {
    files.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let words: Vec<_> =
        files.iter().take(3).map(|(path, bytes)| format!("{} ({bytes})", name(path))).collect();
    words.join(", ")
}

/// Puts a packed folder into the run's storage; one that is there already is left alone.
///
/// # Errors
/// Where the store refuses.
pub async fn bring(dir: &RunDir, packed: &Packed) -> Result<()> {
    dir.storage().create(&layout::code(&packed.digest), packed.archive.clone()).await?;
    Ok(())
}

/// Reads a packed folder from the run's storage.
///
/// # Errors
/// Where it isn't there, or has other bytes than its digest says.
pub async fn fetch(dir: &RunDir, digest: &str) -> Result<Bytes> {
    let path = layout::code(digest);
    let archive = dir.storage().get_at_most(&path, MOST_ARCHIVE_BYTES).await?;
    let found = blake3::hash(&archive).to_hex();
    if found.as_str() != digest {
        let reason = format!("its blake3 is {found}");
        return Err(crate::Error::BadRecord { uri: dir.uri(&path), what: "packed folder", reason });
    }
    Ok(archive)
}

/// Unpacks a packed folder to a place of its own; what an earlier one left there is taken away. Blocks.
///
/// # Errors
/// Where there is no room; [`io::ErrorKind::InvalidData`] where the archive is none that [`pack`] makes: its files have more
/// than `most_bytes` in all, it holds something else than files and links, or a path leads out of the folder.
pub fn unpack(archive: &[u8], to: &Path, most_bytes: u64) -> io::Result<()> {
    match std::fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::fs::create_dir_all(to)?,
    }
    let mut tar = tar::Archive::new(zstd::Decoder::new(archive)?.take(MOST_ARCHIVE_BYTES));
    tar.set_preserve_mtime(false);
    let too_much = || no_packed_folder(&format!("more than the {most_bytes} bytes that the job says"));
    let mut left = most_bytes;
    for entry in tar.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if !kind.is_file() && !kind.is_symlink() {
            return Err(no_packed_folder("something that is neither a file nor a link"));
        }
        left = left.checked_sub(entry.size()).ok_or_else(too_much)?;
        if !entry.unpack_in(to)? {
            return Err(no_packed_folder("a path that leads out of it"));
        }
    }
    // The reader takes a stream that was cut between two files for a whole one.
    match tar.into_inner().limit() {
        0 => Err(too_much()),
        _ => Ok(()),
    }
}

fn no_packed_folder(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not a packed folder: it holds {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_packed_is_unpacked_without_what_is_ignored() {
        let dir = folder(&[
            ("train.py", "print()"),
            ("lib/model.py", "m"),
            ("data/big.bin", "b"),
            ("notes.txt", "n"),
            (".gitignore", "data/\n"),
            (".lockstepignore", "notes.txt\n"),
            (".ignore", "train.py\n"),
            (".git/HEAD", "ref"),
            (".git/info/exclude", "train.py\n"),
        ]);
        std::fs::set_permissions(dir.path().join("train.py"), PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("train.py", dir.path().join("main.py")).unwrap();
        let packed = pack(dir.path()).unwrap();
        let to = tempfile::tempdir().unwrap();
        let place = to.path().join("code");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("old"), "").unwrap();
        unpack(&packed.archive, &place, packed.num_bytes).unwrap();
        let mut found: Vec<_> = walkdir(&place);
        found.sort();
        let expected = [".gitignore", ".ignore", ".lockstepignore", "lib/model.py", "main.py", "train.py"];
        assert_eq!(found, expected);
        assert_eq!(std::fs::read_to_string(place.join("main.py")).unwrap(), "print()");
        let mode = std::fs::metadata(place.join("train.py")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
    }

    #[test]
    fn more_than_the_job_says_is_not_unpacked() {
        let dir = folder(&[("a", "1"), ("zeros", "")]);
        std::fs::File::create(dir.path().join("zeros")).unwrap().set_len(64 << 20).unwrap();
        let packed = pack(dir.path()).unwrap();
        assert!(packed.archive.len() < 64 << 10);
        let to = tempfile::tempdir().unwrap();
        let place = to.path().join("code");
        let error = unpack(&packed.archive, &place, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("more than the 1048576 bytes"), "{error}");
        assert!(!place.join("zeros").exists());
        unpack(&packed.archive, &place, packed.num_bytes).unwrap();
        assert_eq!(std::fs::metadata(place.join("zeros")).unwrap().len(), 64 << 20);
    }

    fn walkdir(place: &Path) -> Vec<String> {
        let files = WalkBuilder::new(place).standard_filters(false).build().map(|entry| entry.unwrap());
        let files = files.filter(|entry| !entry.path().is_dir());
        files.map(|entry| entry.path().strip_prefix(place).unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_digest_depends_on_the_content_alone() {
        let (one, other) = (folder(&[("a", "1"), ("b", "2")]), folder(&[("b", "2"), ("a", "1")]));
        assert_eq!(pack(one.path()).unwrap().digest, pack(other.path()).unwrap().digest);
        std::fs::write(other.path().join("a"), "3").unwrap();
        assert_ne!(pack(one.path()).unwrap().digest, pack(other.path()).unwrap().digest);
    }

    #[test]
    fn too_little_and_too_much_are_refused() {
        let dir = folder(&[(".lockstepignore", "*\n")]);
        assert!(matches!(pack(dir.path()), Err(PackError::Empty(_))));
        let dir = folder(&[("small", "1")]);
        std::fs::File::create(dir.path().join("huge")).unwrap().set_len(MOST_BYTES).unwrap();
        let error = pack(dir.path()).unwrap_err().to_string();
        assert!(error.contains("huge (268435456), small (1)"), "{error}");
        assert!(matches!(pack(&dir.path().join("absent")), Err(PackError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn what_was_damaged_in_the_store_is_refused() {
        let (code, run) = (folder(&[("a", "1")]), tempfile::tempdir().unwrap());
        let packed = pack(code.path()).unwrap();
        let dir = RunDir::open(&run.path().display().to_string()).unwrap();
        bring(&dir, &packed).await.unwrap();
        bring(&dir, &packed).await.unwrap();
        assert_eq!(fetch(&dir, &packed.digest).await.unwrap(), packed.archive);
        let file = run.path().join(layout::code(&packed.digest));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(&file, "other").unwrap();
        assert!(fetch(&dir, &packed.digest).await.unwrap_err().to_string().contains("its blake3 is"));
    }
}
