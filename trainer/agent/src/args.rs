//! The agent's command line; the one module that reads its environment.

use clap::{Parser, Subcommand};
use lockstep_job::Resume;
use std::path::PathBuf;

/// Runs one node of a Lockstep job: starts its workers, keeps them alive, agrees with the other nodes.
///
/// Started by `lockstep launch`; people rarely call it themselves.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an agent binary does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until the job ends.
    Run(Box<RunArgs>),
    /// Say what a pod finds around it: name server, storage, GPUs.
    Checkup(CheckupArgs),
    /// Copy this program into a folder.
    Install(InstallArgs),
    /// Run a command that dies with the process that started it.
    Tether(TetherArgs),
}

/// Arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// URI of the run's folder.
    #[arg(long)]
    pub run_dir: String,
    /// The resolved job, a JSON file.
    #[arg(long)]
    pub job: PathBuf,
    /// This node's index; on Kubernetes the completion index.
    #[arg(long, env = "JOB_COMPLETION_INDEX")]
    pub node: u32,
    /// Name of this launch, the same on every node: `--resume` is obeyed once in each launch.
    #[arg(long)]
    pub launch: String,
    /// When the user typed the command, in milliseconds since 1970. Default: when the launch's first generation was
    /// formed, or else now; a manifest that stays the same can't know it.
    #[arg(long)]
    pub launched_at: Option<u64>,
    /// Host or address on which the other nodes reach this one.
    #[arg(long)]
    pub host: String,
    /// Port on which they reach it; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Folder for what outlives a worker but not the node, such as the dataset cache.
    #[arg(long)]
    pub scratch: PathBuf,
    /// GPUs that the node was promised: its workers compute on them or fail.
    #[arg(long, default_value_t = 0)]
    pub gpus: u32,
    /// Number of the first GPU that is this node's, where several nodes share a machine.
    #[arg(long, default_value_t = 0)]
    pub first_gpu: u32,
    /// File that gets the reason of the end in words, as Kubernetes shows it of a pod. Default: none.
    #[arg(long)]
    pub last_words: Option<PathBuf>,
    /// How long nodes other than 0 stay after the run is done, in seconds, unless they are told to leave. Once the first
    /// node leaves, a cluster takes the run for done and removes the logs of the others: node 0's tells of the whole run.
    #[arg(long, default_value_t = 0)]
    pub outstay: u64,
    /// Load nothing: start over in a new generation.
    #[arg(long, conflicts_with = "resume")]
    pub fresh: bool,
    /// What to load: auto, must, or STEP for the checkpoint of that step.
    #[arg(long, default_value = "auto")]
    pub resume: Resume,
    /// Who launched it, as `user@host`; kept with the checkpoints. Default: not known.
    #[arg(long)]
    pub launched_by: Option<String>,
    /// The commit that is checked out where the job was launched; kept with the checkpoints. Default: not known.
    #[arg(long)]
    pub git_commit: Option<String>,
    /// Whether files differ from that commit.
    #[arg(long, requires = "git_commit")]
    pub git_dirty: Option<bool>,
}

/// Arguments of `checkup`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckupArgs {
    /// URI of the folder of all runs.
    #[arg(long)]
    pub storage: String,
    /// NVIDIA devices that the pod was promised.
    #[arg(long, default_value_t = 0)]
    pub gpus: u32,
    /// File that gets the findings, as JSON.
    #[arg(long)]
    pub last_words: PathBuf,
}

/// Arguments of `install`.
#[derive(Debug, Clone, clap::Args)]
pub struct InstallArgs {
    /// The folder.
    pub folder: PathBuf,
}

/// Arguments of `tether`.
#[derive(Debug, Clone, clap::Args)]
pub struct TetherArgs {
    /// Process id of the starter; if that is gone already, nothing is run.
    #[arg(long, required_unless_present = "stay")]
    pub parent: Option<i32>,
    /// Stay as the command's parent and, when it ends or standard input does, end everything that descends from it.
    #[arg(long, conflicts_with = "parent")]
    pub stay: bool,
    /// The command.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Environment of user commands may refer to the agent's: this is the look-up.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variable that names the certificates beside this program, where it does: those are for the agent alone, since a
/// worker's image has its own, or none.
pub fn own_certificates() -> Option<&'static str> {
    const NAME: &str = "SSL_CERT_FILE";
    let beside = std::env::current_exe().ok()?.with_file_name(crate::install::CERTIFICATES);
    (std::env::var_os(NAME)? == beside).then_some(NAME)
}
