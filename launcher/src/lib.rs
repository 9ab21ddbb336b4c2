//! The lockstep command: what a user types. Results go to stdout, progress and errors to stderr, and the exit code says
//! how it ended.
//!
//! Each command is one file in `cli`, with its `Args` and a function `run`.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic where nobody reads; see `output`

mod block_on;
mod bug;
mod chaos;
mod cli;
mod cluster;
mod context;
mod environment;
mod error;
mod exit;
mod job_file;
mod keys;
mod local;
mod outage;
mod output;
mod plain;
mod preflight;
mod runs;
mod shell;
mod signals;
mod trace;
mod view;

use block_on::block_on;
pub use bug::guard;
pub use cli::{command, main};
pub use context::Context;
pub use error::Failure;
pub use exit::Exit;
pub use job_file::JobFile;
pub use output::{Format, Output};
