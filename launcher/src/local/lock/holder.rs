use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that was proved to be the launcher that holds a lock: it can't become another one by a number used again.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Its number, for messages.
    pub(crate) pid: Pid,
    process: OwnedFd,
}

impl Holder {
    /// What a launcher writes into its lock: its number, and when it started, which tells it from a later process of that
    /// number.
    pub(super) fn own_words() -> Option<String> {
        let pid = getpid();
        Some(format!("{} {}\n", pid.as_raw_pid(), started(pid)?))
    }

    /// The process that the words in a lock name, if it is there, runs this program, and holds this very lock. A copy of
    /// a lock, or one that somebody wrote, proves nothing.
    pub(super) fn proved(words: &str, lock: &Metadata) -> Option<Self> {
        let mut words = words.split_whitespace();
        let pid = Pid::from_raw(words.next()?.parse().ok().filter(|pid| *pid > 0)?)?;
        let start: u64 = words.next()?.parse().ok()?;
        // Held first: what is then read of the number is read of this process, or of one that started later.
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let is_it = started(pid) == Some(start) && runs_this_program(pid) && holds(pid, lock);
        is_it.then_some(Self { pid, process })
    }

    /// Kills it.
    ///
    /// # Errors
    /// Where it is gone already.
    pub(crate) fn kill(&self) -> rustix::io::Result<()> {
        pidfd_send_signal(&self.process, Signal::KILL)
    }
}

/// When a process started, in ticks since the machine did.
fn started(pid: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(of(pid, "stat")).ok()?;
    // The name, in parentheses, may hold anything; the start is the 20th word after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn runs_this_program(pid: Pid) -> bool {
    let name = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        // What the kernel adds where a newer version took the file's place.
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    let theirs = std::fs::read_link(of(pid, "exe")).ok().and_then(name);
    theirs.is_some() && theirs == std::fs::read_link("/proc/self/exe").ok().and_then(name)
}

/// Whether one of its open files is this one, with the lock: who only looks has it open too.
fn holds(pid: Pid, lock: &Metadata) -> bool {
    let Ok(entries) = std::fs::read_dir(of(pid, "fd")) else { return false };
    let is_lock = |file: Metadata| (file.dev(), file.ino()) == (lock.dev(), lock.ino());
    let mut open = entries.flatten().filter(|entry| std::fs::metadata(entry.path()).is_ok_and(is_lock));
    open.any(|entry| {
        let told = std::fs::read_to_string(of(pid, "fdinfo").join(entry.file_name())).unwrap_or_default();
        told.lines().any(|line| line.starts_with("lock:") && line.contains("WRITE"))
    })
}

fn of(pid: Pid, what: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_pid().to_string()).join(what)
}
