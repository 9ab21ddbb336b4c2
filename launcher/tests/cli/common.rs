//! Running the built command with a deadline.

use std::{path::PathBuf, time::Duration};

use assert_cmd::Command;

/// The command, in the repository's root, with output as it is without a terminal.
pub(crate) fn lockstep(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(args).current_dir(root()).timeout(Duration::from_secs(60));
    command
}

/// Exit code, stdout, stderr.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    outcome(&mut lockstep(args))
}

/// Exit code, stdout, stderr of a prepared command.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("lockstep could not be run: {error}"),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..")
}
