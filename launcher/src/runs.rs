//! Finds runs: by name in `./runs`, or by folder or URI.

use crate::Failure;
use lockstep_run::RunDir;
use std::path::{Path, PathBuf};

/// Where local runs lie unless the job file says otherwise.
pub(crate) const DEFAULT_STORAGE: &str = "runs";

/// The option that names a run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArg {
    /// Name of a run in ./runs, or its folder or URI
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

impl RunArg {
    /// Opens the run.
    ///
    /// # Errors
    /// Where there is none; the message lists those that are there.
    pub(crate) async fn open(&self) -> anyhow::Result<RunDir> {
        let dir = RunDir::open(&uri(&self.run)?)?;
        if dir.run().await?.is_some() {
            return Ok(dir);
        }
        let known: Vec<_> =
            local().into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        let there = if known.is_empty() {
            "there are no runs in ./runs".to_owned()
        } else {
            format!("runs in ./runs: {}", known.join(", "))
        };
        Err(Failure::usage(format!("there is no run at {}", dir.uri(""))).note("look at", there).into())
    }
}

/// The folder or URI that a RUN argument means.
fn uri(run: &str) -> anyhow::Result<String> {
    if run.contains("://") {
        return Ok(run.to_owned());
    }
    let named = Path::new(DEFAULT_STORAGE).join(run);
    let is_name =
        !run.contains('/') && (named.join("run.json").exists() || !Path::new(run).join("run.json").exists());
    let path = if is_name { named } else { PathBuf::from(run) };
    absolute(&path.to_string_lossy())
}

/// A local path made absolute, and normal; a URI as it is.
pub(crate) fn absolute(path_or_uri: &str) -> anyhow::Result<String> {
    if path_or_uri.contains("://") {
        return Ok(path_or_uri.trim_end_matches('/').to_owned());
    }
    let path: PathBuf = std::path::absolute(path_or_uri)?.components().collect();
    Ok(path.to_string_lossy().into_owned())
}

/// Folders of the runs in `./runs`, in name order.
pub(crate) fn local() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DEFAULT_STORAGE) else { return vec![] };
    let mut found: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join("run.json").exists()).collect();
    found.sort();
    found
}
