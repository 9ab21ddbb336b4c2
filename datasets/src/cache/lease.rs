//! Which folders of a cache are in use, so that those of datasets that were replaced can go.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::{Error, Result};

const LEASE: &str = "in-use";

/// How often a folder is made anew that others are just taking away.
const ATTEMPTS: u32 = 100;

/// Held as long as a folder is in use; the kernel gives it back when its holder ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Locked as long as it is open; none where the file system has no locks.
    _file: Option<File>,
}

impl Lease {
    /// Takes the lease of a folder, which `make` makes if it is not there.
    pub(crate) fn take(dir: &Path, make: impl Fn() -> Result<()>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            match make() {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            }
            match shared(dir) {
                Ok(Some(file)) => return Ok(Self { _file: Some(file) }),
                Ok(None) => std::thread::yield_now(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => {
                    tracing::warn!(cache = %dir.display(), %error, "the data cache can't be locked");
                    return Ok(Self { _file: None });
                }
            }
        }
        Err(Error::io("lock", dir)(io::ErrorKind::TimedOut.into()))
    }
}

/// `None` where somebody is just taking the folder away.
fn shared(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LEASE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock_shared() {
        Ok(()) => (),
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    // It may be one that was unlinked before it was locked.
    let same =
        fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
    Ok(same.then_some(file))
}

/// Removes the folders in `parent` that are `old` and that nobody uses. Only tidiness depends on it, so errors don't matter.
pub(crate) fn sweep(parent: &Path, old: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_old =
            entry.file_name().to_str().is_some_and(&old) && entry.file_type().is_ok_and(|t| t.is_dir());
        let lease = OpenOptions::new().write(true).open(entry.path().join(LEASE));
        if let (true, Ok(lease)) = (is_old, lease)
            && lease.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
