//! Other people's servers, as processes that end with their test.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// More than any server needs to begin on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`, and waits for the line of its output that holds `before`. What follows there, up to the next space, is
    /// where it listens.
    ///
    /// # Panics
    /// When it doesn't begin in time.
    pub(crate) fn start(command: &Command, before: &str) -> (Self, String) {
        // The kernel ends it with the thread that started it, so that a killed test leaves nothing.
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "sh", "-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program());
        tied.args(command.get_args());
        tied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = tied.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let process = Self(child);
        let (told, hears) = mpsc::channel();
        let before = before.to_owned();
        thread::spawn(move || read(output, &before, &told));
        let address = hears.recv_timeout(DEADLINE);
        let address = address.unwrap_or_else(|_| panic!("{} did not begin", command.get_program().display()));
        (process, address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads to the end, so that the server never waits for somebody to take its output.
fn read(output: ChildStdout, before: &str, told: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once(before) {
            let _ = told.send(rest.split_whitespace().next().unwrap_or("").to_owned());
        }
    }
}

/// The path that one of the repository's scripts prints, which brings a server into the cache where it isn't there yet.
///
/// # Panics
/// When the script fails; it has said why.
pub(crate) fn installed(script: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&package).ancestors().find(|path| path.join("Cargo.lock").exists()).unwrap();
    let output =
        Command::new(root.join("tests/scripts").join(script)).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
