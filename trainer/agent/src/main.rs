//! The agent's binary.

use clap::Parser;
use lockstep_agent::args::{Cli, Command};
use lockstep_agent::{driver, tether};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let error = match Cli::parse().command {
        Command::Tether(args) => tether::run(&args),
        Command::Run(args) => {
            let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
            tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
            // Children are tied to the thread that starts them, so everything runs on the main one.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime.map_err(Into::into).and_then(|r| r.block_on(driver::run(*args))) {
                Ok(code) => return ExitCode::from(code as u8),
                Err(error) => error,
            }
        }
    };
    eprintln!("lockstep-agent: {error:#}");
    ExitCode::FAILURE
}
