use crate::environment;
use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// One launcher for each local run. The kernel lets go of it when the launcher dies, however it dies.
#[derive(Debug)]
pub(crate) struct RunLock(#[expect(dead_code, reason = "held, never read")] File);

impl RunLock {
    /// Takes the lock of the run at `run_dir`; the inner error is the process id of who holds it.
    pub(crate) fn take(run_dir: &str) -> anyhow::Result<Result<Self, String>> {
        let path = Self::path(run_dir)?;
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.with_context(|| format!("can't open the lock {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            return Ok(Err(holder.trim().to_owned()));
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ok(Self(file)))
    }

    /// Whether some launcher of the run at `run_dir` lives.
    pub(crate) fn is_held(run_dir: &str) -> bool {
        let file = Self::path(run_dir).ok().and_then(|path| File::open(path).ok());
        file.is_some_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// The process that holds the lock of the run at `run_dir`, where one does.
    pub(crate) fn holder(run_dir: &str) -> Option<Pid> {
        let path = Self::path(run_dir).ok().filter(|_| Self::is_held(run_dir))?;
        Pid::from_raw(std::fs::read_to_string(path).ok()?.trim().parse().ok()?)
    }

    /// Beside no run, so that it works for a bucket as for a folder.
    fn path(run_dir: &str) -> anyhow::Result<PathBuf> {
        let folder =
            std::env::temp_dir().join(format!("lockstep-locks-{}", rustix::process::getuid().as_raw()));
        std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        // The same URI at another endpoint is another run.
        let place = format!("{}\n{run_dir}", environment::storage_endpoint().unwrap_or_default());
        Ok(folder.join(blake3::hash(place.as_bytes()).to_hex().as_str()))
    }
}
