use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Asks the kernel to kill this process when its parent dies, then becomes the command. Returns only on failure.
pub(super) fn run(parent: i32, command: &[OsString]) -> anyhow::Error {
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return anyhow::anyhow!("can't ask for a signal at the parent's death: {e}");
    }
    // The parent may have died before the line above.
    if getppid() != Pid::from_raw(parent) {
        return anyhow::anyhow!("process {parent}, which started this one, is gone");
    }
    let Some((program, rest)) = command.split_first() else {
        return anyhow::anyhow!("no command to run");
    };
    let error = Command::new(program).args(rest).exec();
    anyhow::anyhow!("can't run {}: {error}", program.to_string_lossy())
}
