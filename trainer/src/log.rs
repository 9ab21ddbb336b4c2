use crate::env;
use lockstep_jobspec::JobSpec;
use lockstep_run::link::Start;
use tracing_subscriber::EnvFilter;

/// Logs to standard error, which the agent keeps; `LOCKSTEP_LOG` or the job's `log.level` filters.
pub(crate) fn start(job: &JobSpec, start: &Start) {
    let filter = env::log_filter().unwrap_or_else(|| job.log.level.as_str().to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    // Where a program that embeds this library logs already, its own way holds.
    if subscriber.try_init().is_ok() {
        tracing::debug!(run = %job.name, node = %start.node, rank = %start.rank, generation = %start.generation, "started");
    }
}
