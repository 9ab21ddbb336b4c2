//! The agent's binary.

use clap::Parser;
use lockstep_agent::args::{Cli, Command};
use lockstep_agent::driver::{self, StartError};
use lockstep_agent::{checkup, install, tether};
use lockstep_run::Outcome;
use lockstep_run::process::say;
use std::process::ExitCode;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Log lines that may wait for the reader.
const MOST_LINES: usize = 4096;

fn main() -> ExitCode {
    let error = match Cli::parse().command {
        Command::Tether(args) => match tether::run(&args) {
            Ok(code) => return code,
            Err(error) => error,
        },
        Command::Checkup(args) => match checkup::run(&args) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => error,
        },
        Command::Install(args) => match install::run(&args.folder) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => error,
        },
        Command::Run(args) => {
            let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
            let (log, _written_at_the_end) = log();
            tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(log).init();
            // Children are tied to the thread that starts them, so everything runs on the main one.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let last_words = args.last_words.clone();
            let ran = runtime.map_err(|error| StartError::Again(error.into()));
            let ran = ran.and_then(|runtime| {
                let ran = runtime.block_on(driver::run(*args));
                // A disk that hangs keeps its thread; nobody waits for it.
                runtime.shutdown_background();
                ran
            });
            match ran {
                Ok(code) => return code.into(),
                Err(error) => {
                    if let Some(path) = last_words {
                        driver::leave_words(&path, Some(&Outcome::Failed { error: error.to_string() }));
                    }
                    say(&format!("lockstep-agent: {error}"));
                    return error.exit_code().into();
                }
            }
        }
    };
    say(&format!("lockstep-agent: {error:#}"));
    ExitCode::FAILURE
}

/// Standard error, for which nobody waits: what is logged faster than it is read is left out.
fn log() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES).finish(std::io::stderr())
}
