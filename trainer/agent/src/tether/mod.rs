//! A child that can't outlive its parent, not even when the parent is killed with SIGKILL.
//!
//! `leash` ties one process to the one that started it. `stay` ties a whole family: it remains as the parent, so that
//! what the child's descendants leave behind comes to it and is ended with the rest.

mod leash;
mod stay;

use crate::args::TetherArgs;
use std::process::ExitCode;

/// Runs the command. With `--stay` it returns how the command ended; without, only on failure.
///
/// # Errors
/// Where the command can't be run, or can't be tied.
pub fn run(args: &TetherArgs) -> anyhow::Result<ExitCode> {
    match args.parent {
        Some(parent) => Err(leash::run(parent, &args.command)),
        None => stay::run(&args.command),
    }
}
