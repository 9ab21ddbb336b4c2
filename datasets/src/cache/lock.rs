use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
    time::Duration,
};

use crate::{Error, Result};

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
        path: &Path,
        patience: Duration,
        ready: impl Fn() -> bool,
    ) -> Result<Option<Self>> {
        let failed = || Error::io("lock", path);
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed())?;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if ready() => return Ok(None),
                // The holder may be stopped or lost in a dead network: fetching twice is better than waiting for it.
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() >= deadline => return Ok(None),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
                Err(TryLockError::Error(error)) => return Err(failed()(error)),
            }
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        file.set_len(0)
            .and_then(|()| writeln!(file, "{} {}", std::process::id(), boot.trim()))
            .map_err(failed())?;
        Ok(Some(Self { _file: file }))
    }
}
