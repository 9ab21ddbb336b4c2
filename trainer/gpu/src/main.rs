//! Prints what NVIDIA's driver tells of GPUs, one JSON line at a time. The agent starts it where workers compute on GPUs: the
//! agent is linked statically and can't open the driver's library itself.

mod look;
mod watch;

use clap::Parser;
use lockstep_run::GpuUuid;
use std::process::ExitCode;
use std::time::Duration;

/// Prints what NVIDIA's driver tells of GPUs, one JSON line at a time, until nobody reads.
///
/// Started by `lockstep-agent`; people rarely call it themselves.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// UUID of a GPU or of a slice of one, without GPU- or MIG-. Default: all GPUs that the driver shows.
    #[arg(long)]
    gpu: Vec<GpuUuid>,
    /// Seconds between two lines; an error that the driver tells of is printed at once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

fn main() -> ExitCode {
    let Args { gpu, every } = Args::parse();
    let mut out = std::io::stdout().lock();
    match watch::run(&gpu, Duration::from_secs(every), &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(missing) => {
            // Whoever started it reads nothing else, and may be gone.
            let _ = watch::print(&mut out, &lockstep_run::GpuLine::Missing(format!("{missing:#}")));
            ExitCode::FAILURE
        }
    }
}
