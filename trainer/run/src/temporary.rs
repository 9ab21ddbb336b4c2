//! Folders that last as long as their process, in places that others use too.
//!
//! A process that is killed leaves its folder behind. Each one is locked by who made it, so whoever comes later can tell the
//! ones that are left over, and [`sweep`] them.

use rustix::fs::{Mode, OFlags};
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How the name of each begins.
const PREFIX: &str = "lockstep-tmp-";
const RANDOM_BYTES: usize = 8;
/// How long the path of a folder is beyond its place's. Unit: bytes.
pub const LONGER_BY: usize = "/".len() + PREFIX.len() + RANDOM_BYTES;

/// A folder that only this user can enter; dropping it deletes it with all that is in it.
#[derive(Debug)]
pub struct Temporary {
    folder: TempDir,
    _lock: File,
}

impl Temporary {
    /// Makes one in `place`.
    ///
    /// # Errors
    /// Where the place takes none.
    pub fn make(place: &Path) -> io::Result<Self> {
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX).rand_bytes(RANDOM_BYTES).permissions(Permissions::from_mode(0o700));
            let folder = builder.tempdir_in(place)?;
            // Somebody may sweep it before it is locked.
            let lock = match open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // A file system may have no locks: then nobody sweeps there either.
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => continue,
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            if is_at(&lock, folder.path()) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Where such folders may be on this machine: the user's own choice first, and at the end places with short names.
pub fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute());
    let short = ["/tmp", "/dev/shm", "/var/tmp"].map(PathBuf::from);
    std::iter::once(std::env::temp_dir()).chain(runtime).chain(short).collect()
}

/// Deletes the folders in `place` that this user's processes left there when they were killed. Blocks. What can't be looked at
/// or deleted stays.
pub fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_one {
            let _ = sweep_one(&entry.path());
        }
    }
}

fn sweep_one(path: &Path) -> io::Result<()> {
    let lock = open(path)?;
    let found = lock.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Ok(());
    }
    match lock.try_lock() {
        Ok(()) if is_at(&lock, path) => std::fs::remove_dir_all(path),
        _ => Ok(()),
    }
}

/// A folder itself, and not what a link by its name leads to.
fn open(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?.into())
}

fn is_at(folder: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (folder.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(place: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let lives = Temporary::make(place.path()).unwrap();
        std::fs::write(lives.path().join("socket"), "").unwrap();
        for (name, mode) in
            [("lockstep-tmp-left", 0o700), ("lockstep-tmp-open", 0o755), ("lockstep-else", 0o700)]
        {
            std::fs::create_dir_all(at(name).join("deep/er")).unwrap();
            std::fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        std::fs::write(at("lockstep-tmp-file"), "").unwrap();
        std::os::unix::fs::symlink(at("lockstep-else"), at("lockstep-tmp-link")).unwrap();
        sweep(place.path());
        let own = lives.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected =
            ["lockstep-else", "lockstep-tmp-file", "lockstep-tmp-link", "lockstep-tmp-open", &own];
        expected.sort_unstable();
        assert_eq!(names(place.path()), expected);
        assert!(at("lockstep-else/deep/er").exists() && lives.path().join("socket").exists());
        drop(lives);
        assert!(!names(place.path()).contains(&own));
    }

    #[test]
    fn it_is_this_users_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = Temporary::make(place.path()).unwrap();
        assert_eq!(std::fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(folder.path().as_os_str().len(), place.path().as_os_str().len() + LONGER_BY);
    }

    #[test]
    fn many_who_make_and_sweep_at_once_lose_nothing() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let folder = Temporary::make(place.path()).unwrap();
                        sweep(place.path());
                        assert!(folder.path().is_dir());
                    }
                });
            }
        });
        assert!(names(place.path()).is_empty());
    }
}
