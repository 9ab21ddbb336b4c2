//! The one module that reads environment variables.

use std::path::PathBuf;

/// Socket of this node's agent, where one started this process.
pub(crate) fn link() -> Option<PathBuf> {
    std::env::var_os(lockstep_run::link::ENV).map(PathBuf::from)
}

/// Which of the node's workers this is, as torchrun numbers them.
pub(crate) fn local_rank() -> u32 {
    std::env::var("LOCAL_RANK").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Log filter in tracing's syntax; wins over the job's `log.level`.
pub(crate) fn log_filter() -> Option<String> {
    std::env::var("LOCKSTEP_LOG").ok()
}
