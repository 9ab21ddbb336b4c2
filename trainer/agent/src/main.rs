//! The agent's binary.

use clap::Parser;
use lockstep_agent::args::{Cli, Command};
use lockstep_agent::driver::{self, StartError};
use lockstep_agent::{checkup, install, tether};
use lockstep_run::Outcome;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

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
        Command::Install(args) => match install::run(&args) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => error,
        },
        Command::Run(args) => {
            let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
            tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
            // Children are tied to the thread that starts them, so everything runs on the main one.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let last_words = args.last_words.clone();
            let ran = runtime.map_err(|error| StartError::Again(error.into()));
            match ran.and_then(|runtime| runtime.block_on(driver::run(*args))) {
                Ok(code) => return code.into(),
                Err(error) => {
                    eprintln!("lockstep-agent: {error}");
                    if let Some(path) = last_words {
                        driver::leave_words(&path, Some(&Outcome::Failed { error: error.to_string() }));
                    }
                    return error.exit_code().into();
                }
            }
        }
    };
    eprintln!("lockstep-agent: {error:#}");
    ExitCode::FAILURE
}
