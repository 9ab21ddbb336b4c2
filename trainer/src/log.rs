use crate::env;
use lockstep_job::JobSpec;
use lockstep_run::link::Start;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Log lines that may wait for the reader.
const MOST_LINES: usize = 4096;

/// Logs to standard error, which the agent keeps; `LOCKSTEP_LOG` or the job's `log.level` filters. Nobody waits for it: what
/// is logged faster than it is read is left out. Dropping what is returned writes the rest, for a moment at most.
pub(crate) fn start(job: &JobSpec, start: &Start) -> WorkerGuard {
    let filter = env::log_filter().unwrap_or_else(|| job.log.level.as_str().to_owned());
    let (log, rest) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES).finish(std::io::stderr());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(log)
        .with_ansi(false)
        .with_target(false);
    // Where a program that embeds this library logs already, its own way holds.
    if subscriber.try_init().is_ok() {
        tracing::debug!(run = %job.name, node = %start.node, rank = %start.rank, generation = %start.generation, "started");
    }
    rest
}
