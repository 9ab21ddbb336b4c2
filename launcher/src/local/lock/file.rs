use super::holder::Holder;
use super::place::Place;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a lock is tried again whose holder may be about to let go.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Words longer than this are not a launcher's.
const MOST_WORDS: u64 = 128;

/// What came of trying one place.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was free.
    Ours(File, PathBuf),
    /// Somebody holds it.
    Held(Option<Holder>),
}

/// Takes the lock at `place`. One that is held by somebody who isn't proved to be a launcher is tried again until the
/// deadline: a launcher that is just ending, or one that only looks.
///
/// # Errors
/// Where it can't be a lock of this user's; the message says why.
pub(super) fn take(place: &Place, deadline: Duration) -> Result<Attempt, String> {
    let path = &place.0;
    let refuse = |error: io::Error| format!("can't lock {}: {error}", path.display());
    let since = Instant::now();
    loop {
        let mut file = open(path, true).map_err(refuse)?;
        match file.try_lock() {
            // Whoever held it may have removed it in between: then it is nobody's.
            Ok(()) if !is_at(&file, path) => continue,
            Ok(()) => {
                write(&mut file).map_err(refuse)?;
                return Ok(Attempt::Ours(file, path.clone()));
            }
            Err(TryLockError::WouldBlock) => {
                let holder = proved(&mut file);
                if holder.is_some() || since.elapsed() > deadline {
                    return Ok(Attempt::Held(holder));
                }
                sleep(AGAIN_AFTER);
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
    }
}

/// Whether somebody holds the lock at `place`.
pub(super) fn is_held(place: &Place) -> bool {
    open(&place.0, false).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Who is proved to hold the lock at `place`.
pub(super) fn holder(place: &Place) -> Option<Holder> {
    let mut file = open(&place.0, false).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| proved(&mut file)).flatten()
}

/// Opens a lock, or makes it: a plain file of this user's that nobody else can open, since who can open it can hold it.
fn open(path: &Path, make: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(make).create(make).truncate(false).mode(0o600).custom_flags(flags.bits() as i32);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.nlink() > 1 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is not a regular file of this user"));
    }
    if make && found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: Metadata| (found.dev(), found.ino());
    let (held, there) = (file.metadata().map(id), path.symlink_metadata().map(id));
    matches!((held, there), (Ok(held), Ok(there)) if held == there)
}

fn write(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(Holder::own_words().unwrap_or_default().as_bytes())
}

fn proved(file: &mut File) -> Option<Holder> {
    let mut words = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    Read::by_ref(file).take(MOST_WORDS).read_to_string(&mut words).ok()?;
    Holder::proved(&words, &file.metadata().ok()?)
}
