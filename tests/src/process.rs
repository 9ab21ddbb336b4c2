use lockstep_run::process::ignores;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Waits until `check` gives something.
///
/// # Panics
/// At the deadline, with `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(since.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Finds the processes that descend from one launch by a variable that they inherit.
#[derive(Debug, Clone)]
pub struct Marker(String);

impl Marker {
    /// A marker of its own.
    pub fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(format!("{}-{}", std::process::id(), now.as_nanos()))
    }

    /// Name and value of the variable.
    pub fn variable(&self) -> (&'static str, &str) {
        ("LOCKSTEP_TEST_MARKER", &self.0)
    }

    /// Living processes with this marker whose command line has `word` as one of its arguments' file names.
    pub fn find(&self, word: &str) -> Vec<i32> {
        let wanted = format!("LOCKSTEP_TEST_MARKER={}", self.0);
        let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
        let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let marked = read("environ").split(|b| *b == 0).any(|v| v == wanted.as_bytes());
            let command = String::from_utf8_lossy(&read("cmdline")).into_owned();
            let named = command.split('\0').next().is_some_and(|arg| arg.rsplit('/').next() == Some(word));
            marked && (word.is_empty() || named)
        })
        .collect()
    }

    /// All living processes with this marker.
    pub fn all(&self) -> Vec<i32> {
        self.find("")
    }

    /// Fails unless all processes with this marker are gone soon.
    pub fn expect_none_left(&self) {
        wait_for("every process of the launch is gone", Duration::from_secs(10), || {
            self.all().is_empty().then_some(())
        });
    }
}

impl Default for Marker {
    fn default() -> Self {
        Self::new()
    }
}

/// Has what this process starts from now on heed the signals that end programs. A shell's background job and `nohup` are
/// started to ignore some of them, which is inherited; a signal that is handled isn't.
pub(crate) fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| ignores(*signal)) {
            let _ = signal_hook::flag::register(ignored, Arc::default());
        }
    });
}

/// Sends a signal to a process that this test's launch started.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
