use crate::process::{Marker, signal, wait_for};
use rustix::process::Signal;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing here takes longer; a test that hits this has found a hang.
const DEADLINE: Duration = Duration::from_secs(400);

/// What one condition inside a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// So much of its output a failed expectation shows. Unit: bytes.
const LAST_WORDS: usize = 20_000;

/// A `lockstep` command at work. Dropping it kills it and everything that it started.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Finds its descendants.
    pub marker: Marker,
    started: Instant,
    stdout: Output,
    stderr: Output,
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed beside.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Launched {
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub(crate) fn spawn(mut command: Command, marker: Marker) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = Output::read(child.stdout.take().expect("piped"));
        let stderr = Output::read(child.stderr.take().expect("piped"));
        Self { child, marker, started: Instant::now(), stdout, stderr }
    }

    /// What it has printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// A handle on that, for a condition that [`wait_until`](Self::wait_until) waits for.
    pub fn told(&self) -> Output {
        self.stderr.clone()
    }

    /// The end of it: a test may have millions of lines.
    fn last_words(&self) -> String {
        let all = self.stderr();
        all[all.floor_char_boundary(all.len().saturating_sub(LAST_WORDS))..].to_owned()
    }

    /// Waits until `check` gives something, while the command is at work.
    ///
    /// # Panics
    /// At the deadline, and where the command ended before: with the end of what it printed on stderr.
    pub fn wait_until<T>(&mut self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            let over = matches!(self.child.try_wait(), Ok(Some(_)));
            if let Some(found) = check() {
                return found;
            }
            let elapsed = since.elapsed();
            assert!(
                !over,
                "{what}: the command ended first, after {elapsed:?}; stderr:\n{}",
                self.last_words()
            );
            assert!(elapsed < PATIENCE, "{what}: not within {PATIENCE:?}; stderr:\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until stdout has `text`.
    ///
    /// # Panics
    /// Where that doesn't happen.
    pub fn wait_for_stdout(&mut self, text: &str) {
        let stdout = self.stdout.clone();
        self.wait_until(&format!("«{text}» on stdout"), || stdout.text().contains(text).then_some(()));
    }

    /// Waits until stderr has `text`.
    ///
    /// # Panics
    /// Where that doesn't happen.
    pub fn wait_for_text(&mut self, text: &str) {
        let stderr = self.stderr.clone();
        self.wait_until(&format!("«{text}» on stderr"), || stderr.text().contains(text).then_some(()));
    }

    /// Waits until one of its processes named `name` lives, and returns the newest `num` of them in order of age.
    pub fn processes(&self, name: &str, num: usize) -> Vec<i32> {
        wait_for(&format!("{num} processes {name}"), DEADLINE, || {
            let mut found = self.marker.find(name);
            found.sort_unstable();
            (found.len() == num).then_some(found)
        })
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, name: Signal) {
        signal(self.child.id() as i32, name);
    }

    /// Sends a signal to one of its descendants.
    ///
    /// # Panics
    /// Where the process is not one of its descendants.
    pub fn signal_descendant(&self, pid: i32, name: Signal) {
        assert!(self.marker.all().contains(&pid), "process {pid} is none of this launch's");
        signal(pid, name);
    }

    /// Kills the command and every descendant at once, as the loss of the machine would.
    pub fn kill_everything(mut self) {
        self.kill_all();
        let _ = self.child.wait();
        self.marker.expect_none_left();
    }

    fn kill_all(&self) {
        signal(self.child.id() as i32, Signal::KILL);
        self.marker.all().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it hangs; what it printed is in the message.
    pub fn finish(mut self) -> Finished {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                _ if self.started.elapsed() > DEADLINE => {
                    panic!("no end after {DEADLINE:?}; stderr:\n{}", self.stderr.text())
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let took = self.started.elapsed();
        Finished { code: status.code(), stdout: self.stdout.join(), stderr: self.stderr.join(), took }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill_all();
            let _ = self.child.wait();
        }
    }
}

impl Finished {
    /// Fails unless it ended with `code`; returns itself.
    ///
    /// # Panics
    /// With everything that it printed.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(e) => panic!("{e} in:\n{}\nstderr:\n{}", self.stdout, self.stderr),
        }
    }
}

/// What a command prints, as it comes.
#[derive(Debug, Clone)]
pub struct Output(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Option<JoinHandle<()>>>>);

impl Output {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let to = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if let Ok(mut bytes) = to.lock() {
                    bytes.extend_from_slice(&buffer[..n]);
                }
            }
        });
        Self(bytes, Arc::new(Mutex::new(Some(reader))))
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.0.lock().map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    fn join(&self) -> String {
        if let Some(reader) = self.1.lock().ok().and_then(|mut r| r.take()) {
            let _ = reader.join();
        }
        self.text()
    }
}
