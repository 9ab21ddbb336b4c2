use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::Instant};

const POLL: Duration = Duration::from_millis(20);

/// The right to fetch one shard on this node. The kernel gives it back when its holder ends, however it ends; pid and
/// boot id inside are for whoever looks for the holder.
#[derive(Debug)]
pub(crate) struct FetchLock {
    /// Locked as long as it is open.
    _file: File,
}

impl FetchLock {
    /// Waits for the lock, until `ready` says that it is no longer needed or `patience` is over; `None` in both cases.
    pub(crate) async fn acquire(
        path: PathBuf,
        patience: Duration,
        ready: impl Fn() -> bool + Clone + Send + 'static,
    ) -> io::Result<Option<Self>> {
        let deadline = Instant::now() + patience;
        loop {
            // All of it off the runtime's thread: a disk that hangs must not keep the loader from being dropped.
            let (path, ready) = (path.clone(), ready.clone());
            match spawn_blocking(move || attempt(&path, ready)).await.map_err(io::Error::other)?? {
                Attempt::Ours(lock) => return Ok(Some(lock)),
                Attempt::NotNeeded => return Ok(None),
                // The holder may be stopped or lost in a dead network: fetching twice is better than waiting for it.
                Attempt::Taken if Instant::now() >= deadline => return Ok(None),
                Attempt::Taken => tokio::time::sleep(POLL).await,
            }
        }
    }
}

enum Attempt {
    Ours(FetchLock),
    Taken,
    NotNeeded,
}

fn attempt(path: &PathBuf, ready: impl Fn() -> bool) -> io::Result<Attempt> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) if ready() => return Ok(Attempt::NotNeeded),
        Err(TryLockError::WouldBlock) => return Ok(Attempt::Taken),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    file.set_len(0)?;
    // Only for whoever looks; a full disk takes no line, but gives locks.
    let _ = writeln!(file, "{} {}", std::process::id(), boot.trim());
    Ok(Attempt::Ours(FetchLock { _file: file }))
}
