//! Finds runs: by name in `./runs` and on the cluster, or by folder or URI.

use crate::cluster::{self, Cluster, ClusterArgs, ClusterRun};
use crate::{Failure, block_on, keys, shell};
use anyhow::Context;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use lockstep_run::status::{RunPhase, RunStatus};
use lockstep_run::{RunDir, Step};
use lockstep_storage::Scheme;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where local runs lie unless the job file says otherwise.
pub(crate) const DEFAULT_STORAGE: &str = "runs";
/// A cluster that doesn't answer by then doesn't keep anybody from a run in ./runs.
const LOOK_DEADLINE: Duration = Duration::from_secs(3);
/// How long somebody waits who pressed Tab.
const COMPLETE_DEADLINE: Duration = Duration::from_secs(1);

/// The option that names a run, and those that say where it is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArg {
    /// Name of a run in ./runs or on the cluster, or a run's folder or URI
    #[arg(value_name = "RUN", add = ArgValueCandidates::new(names))]
    pub(crate) run: String,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// The options that say where a run is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Look in ./runs only, not on a cluster
    #[arg(long, conflicts_with_all = ["context", "namespace"])]
    pub(crate) local: bool,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A run that was found.
pub(crate) enum Run {
    /// By its folder.
    Stored(RunDir),
    /// By its Job.
    OnCluster(Box<ClusterRun>),
}

/// What a name stands for.
pub(crate) enum Named {
    /// A run.
    Run(Run),
    /// A job that this cluster launches again and again.
    Schedule(Cluster),
}

impl PlaceArgs {
    /// Whether a cluster was named.
    pub(crate) fn names_cluster(&self) -> bool {
        self.cluster.context.is_some() || self.cluster.namespace.is_some()
    }

    /// The cluster that is named, or else the current one, if there is any.
    ///
    /// # Errors
    /// Where one is named that isn't configured.
    pub(crate) async fn cluster(&self) -> anyhow::Result<Option<Cluster>> {
        if self.local {
            return Ok(None);
        }
        match Cluster::connect(&self.cluster).await {
            Ok(cluster) => Ok(Some(cluster)),
            Err(error) if self.names_cluster() => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl RunArg {
    /// A command about this run, as it can be pasted.
    pub(crate) fn command(&self, verb: &str) -> String {
        let mut words = vec!["lockstep", verb, self.run.as_str()];
        words.extend(self.place.local.then_some("--local"));
        let cluster = &self.place.cluster;
        for (option, value) in [("--context", &cluster.context), ("--namespace", &cluster.namespace)] {
            words.extend(value.iter().flat_map(|value| [option, value.as_str()]));
        }
        shell::join(words)
    }

    /// Finds the run.
    ///
    /// # Errors
    /// Where there is none, or two of that name; the message says what there is.
    pub(crate) async fn find(&self) -> anyhow::Result<Run> {
        match self.find_named().await? {
            Named::Run(run) => Ok(run),
            Named::Schedule(cluster) => {
                let runs = cluster::runs_of(&cluster, &self.run).await?.join(", ");
                let runs = if runs.is_empty() { "none yet".to_owned() } else { runs };
                Err(Failure::usage(format!("{} is a schedule", self.run)).note("its runs", runs).into())
            }
        }
    }

    /// Finds the run, or the schedule of that name.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(crate) async fn find_named(&self) -> anyhow::Result<Named> {
        let stored = if self.place.names_cluster() { None } else { self.stored().await? };
        let cluster = if self.is_path() { None } else { self.place.cluster().await? };
        let Some(cluster) = cluster else {
            return stored.map(|dir| Named::Run(Run::Stored(dir))).ok_or_else(|| self.unknown(None));
        };
        let look = cluster::find(&cluster, &self.run);
        match stored {
            None => match look.await? {
                Some(run) => Ok(Named::Run(Run::OnCluster(Box::new(run)))),
                None if cluster::has_schedule(&cluster, &self.run).await? => Ok(Named::Schedule(cluster)),
                None => Err(self.unknown(Some(&cluster))),
            },
            Some(dir) => match tokio::time::timeout(LOOK_DEADLINE, look).await {
                Ok(Ok(Some(_))) => {
                    let what =
                        format!("run {} is both in ./runs and on the cluster {}", self.run, cluster.context);
                    Err(Failure::usage(what)
                        .note("choose", format!("--local, or --context {}", cluster.context))
                        .into())
                }
                _ => Ok(Named::Run(Run::Stored(dir))),
            },
        }
    }

    /// Opens the run's folder, wherever the run is.
    ///
    /// # Errors
    /// As [`find`](Self::find), and where this machine can't read the run's storage.
    pub(crate) async fn open(&self) -> anyhow::Result<RunDir> {
        let uri = match self.find().await? {
            Run::Stored(dir) => return Ok(dir),
            Run::OnCluster(run) => run.run_dir().unwrap_or_default(),
        };
        let dir = RunDir::open(&uri)?;
        match dir.run().await {
            Ok(Some(_)) => Ok(dir),
            Ok(None) => {
                Err(Failure::new(format!("run {} has written nothing to {uri} yet", self.run)).into())
            }
            Err(error) => Err(Failure::new(format!("can't read {uri} from this machine: {error}"))
                .note("fix", keys::how_to_give(&uri))
                .note(
                    "without",
                    format!(
                        "{}      {}      {} need the cluster only",
                        self.command("status"),
                        self.command("logs"),
                        self.command("events")
                    ),
                )
                .into()),
        }
    }

    async fn stored(&self) -> anyhow::Result<Option<RunDir>> {
        let dir = RunDir::open(&uri(&self.run)?)?;
        Ok(dir.run().await?.map(|_| dir))
    }

    fn is_path(&self) -> bool {
        self.run.contains('/')
    }

    fn unknown(&self, cluster: Option<&Cluster>) -> anyhow::Error {
        let known: Vec<_> =
            local().into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        let there = if known.is_empty() {
            "there are no runs in ./runs".to_owned()
        } else {
            format!("runs in ./runs: {}", known.join(", "))
        };
        let place = match (cluster, self.is_path()) {
            (Some(cluster), _) if self.place.names_cluster() => {
                format!("in namespace {} of {}", cluster.namespace, cluster.context)
            }
            (Some(cluster), _) => {
                format!("in ./runs, or in namespace {} of {}", cluster.namespace, cluster.context)
            }
            (None, true) => format!("at {}", self.run),
            (None, false) => "in ./runs, and no cluster is configured".to_owned(),
        };
        Failure::usage(format!("there is no run {} {place}", self.run)).note("look at", there).into()
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

/// What a run's folder says, under the name by which the run is found: its folder's, which with --run-dir is not the job's.
///
/// # Errors
/// Where the folder can't be read.
pub(crate) async fn status(dir: &RunDir, deadline: Duration) -> lockstep_run::Result<Option<RunStatus>> {
    let Some(status) = dir.status(deadline).await? else { return Ok(None) };
    let name = status.run_dir.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    let name = name.unwrap_or(&status.name).to_owned();
    Ok(Some(carries_on(RunStatus { name, ..status })))
}

/// The status with the step at which the run would carry on, where it stands still: its checkpoint's, not the last that was
/// told of.
fn carries_on(status: RunStatus) -> RunStatus {
    let stands = matches!(status.phase, RunPhase::Stopped | RunPhase::Interrupted);
    let saved = status.last_checkpoint.as_ref().map_or(Step(0), |checkpoint| checkpoint.step);
    RunStatus { step: if stands { saved } else { status.step }, ..status }
}

/// A local path made absolute, and normal; a URI as it is.
///
/// # Errors
/// Where the current folder is gone, the path is not UTF-8, which records and messages are, or the URI names no place that
/// another process can reach.
pub(crate) fn absolute(path_or_uri: &str) -> anyhow::Result<String> {
    if let Some((scheme, rest)) = path_or_uri.split_once("://") {
        if scheme == "memory" {
            let what = format!("{path_or_uri} ends with the process that uses it");
            return Err(Failure::usage(what)
                .note("fix", format!("write a folder, or {}", Scheme::EXAMPLES))
                .into());
        }
        return Ok(format!("{scheme}://{}", rest.trim_end_matches('/')));
    }
    if let Some(instead) = Scheme::misspelt(path_or_uri) {
        return Err(Failure::usage(format!("{path_or_uri:?} is a path")).note("fix", instead).into());
    }
    if path_or_uri.is_empty() {
        return Err(Failure::usage("the path is empty").note("fix", "write a folder, or a bucket").into());
    }
    let path =
        std::path::absolute(path_or_uri).context("can't tell the current folder; is it still there?")?;
    let path: PathBuf = path.components().collect();
    let Some(path) = path.to_str() else {
        let what = format!("the path {} is not UTF-8", path.display());
        return Err(Failure::usage(what).note("fix", "rename the folder").into());
    };
    Ok(path.to_owned())
}

/// Names of runs, for a shell that completes one.
pub(crate) fn names() -> Vec<CompletionCandidate> {
    let mut names: BTreeSet<_> =
        local().iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    let on_cluster = block_on(async {
        let cluster = Cluster::connect(&ClusterArgs::default()).await?;
        tokio::time::timeout(COMPLETE_DEADLINE, cluster::list(&cluster)).await?
    });
    names.extend(on_cluster.unwrap_or_default().into_iter().map(|run| run.name));
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Folders of the runs in `./runs`, in name order.
pub(crate) fn local() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DEFAULT_STORAGE) else { return vec![] };
    let mut found: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join("run.json").exists()).collect();
    found.sort();
    found
}
