//! Local files that may be anything: what is opened, and where work on them runs.

use std::{
    fmt,
    fs::{self, File, FileType, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use rustix::{fs::OFlags, io::Errno};
use tokio::sync::{Semaphore, oneshot};

use crate::Error;

/// Files that are worked on at the same time. On a disk that hangs the rest waits, and ends by its own deadline.
const AT_ONCE: usize = 64;

/// Opens a file for reading, if it is one.
///
/// A FIFO would wait for a writer, and a device may do anything when it is opened.
///
/// # Errors
/// What the system says; for something else than a file, one that says what it is.
pub fn open_file(path: &Path) -> io::Result<File> {
    check_kind(fs::metadata(path)?.file_type())?;
    // It may have been exchanged since.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check_kind(file.metadata()?.file_type())?;
    Ok(file)
}

/// The rest of a file of the given size; `None` where it grows or shrinks meanwhile.
pub(crate) fn read_exactly(file: &mut File, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    let room = usize::try_from(bytes).ok().filter(|room| body.try_reserve_exact(*room).is_ok());
    room.ok_or_else(|| io::Error::new(ErrorKind::OutOfMemory, format!("no memory for {bytes} bytes")))?;
    file.take(bytes).read_to_end(&mut body)?;
    let ended = file.read(&mut [0])? == 0;
    Ok((ended && body.len() as u64 == bytes).then_some(body))
}

/// Nothing for a file; else an error that says what it is.
pub(crate) fn check_kind(kind: FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() => "a block device",
        kind if kind.is_char_device() => "a character device",
        _ => "of an unknown kind",
    };
    Err(Refusal::NotAFile(what).into())
}

/// Whether a link leads in a circle: to a reader there is nothing.
pub(crate) fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Why a file is not read although the system would.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    NotAFile(&'static str),
    TooLarge { bytes: u64, max: u64 },
    Changed,
}

impl Refusal {
    pub(crate) fn of(self, uri: String) -> Error {
        match self {
            Self::NotAFile(what) => Error::NotAFile { uri, what: what.to_owned() },
            Self::TooLarge { bytes, max } => Error::TooLarge { uri, bytes, max },
            Self::Changed => Error::Changed { uri },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile(what) => write!(f, "it is {what}, not a file"),
            Self::TooLarge { bytes, max } => {
                write!(f, "it holds {bytes} bytes, but at most {max} are expected")
            }
            Self::Changed => f.write_str("it was changed or replaced"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::other(refusal)
    }
}

/// Threads for file work. A runtime waits for its own blocking threads when it ends; a file system that hangs keeps these
/// for ever, and nobody waits for them.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<Semaphore>);

impl Threads {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Runs `work` on a thread of its own. Dropping the future leaves the thread to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        std::thread::Builder::new().name("lockstep-file".into()).spawn(move || {
            let done = work();
            drop(permit);
            // Whoever asked may have given up.
            let _ = answer.send(done);
        })?;
        answered.await.unwrap_or_else(|_| Err(io::Error::other("the thread that did it ended early")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn work_that_hangs_keeps_neither_the_caller_nor_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begin = Instant::now();
        runtime.block_on(async {
            let threads = Threads::new();
            // As a file system that is gone does it.
            let hang = || -> io::Result<()> {
                loop {
                    std::thread::park();
                }
            };
            assert!(tokio::time::timeout(Duration::from_millis(50), threads.run(hang)).await.is_err());
            assert_eq!(threads.run(|| Ok(1)).await.unwrap(), 1);
        });
        drop(runtime);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        let gone = Threads::new().run(|| -> io::Result<()> { panic!("on purpose") }).await;
        assert!(gone.is_err());
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_not_taken() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"12345").unwrap();
        for (bytes, found) in [(4, false), (5, true), (6, false)] {
            io::Seek::rewind(&mut file).unwrap();
            assert_eq!(read_exactly(&mut file, bytes).unwrap().is_some(), found, "{bytes}");
        }
    }
}
