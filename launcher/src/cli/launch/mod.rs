//! `lockstep launch`: what the command line says, and which of the two places it means.

mod cluster;
mod code;
mod dry_run;
mod job;
mod local;

use crate::cluster::ClusterArgs;
use crate::output::{Unprinted, patiently, say};
use crate::plain::plain_line;
use crate::view::{coarse, phase_name};
use crate::{Context, Exit, Failure, block_on, environment, shell};
use dry_run::DryRun;
use job::JobArgs;
use lockstep_job::{JobSpec, Resume};
use lockstep_run::status::{RunPhase, RunStatus};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Launch a job, or carry on with it
///
/// If the job's run was stopped or interrupted before its last step, it carries on from the newest good checkpoint. If it is
/// running already, launch follows it. On a cluster, Ctrl-C leaves it running.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:
  lockstep launch -f job.yaml
  lockstep launch -f job.yaml --local
  lockstep launch --image acme/pytorch --agent-image acme/lockstep --nodes 2 --gpus-per-node 8 \\
    --storage s3://bucket/runs --sync . -- python train.py")]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,

    /// Run the nodes as processes on this machine, instead of as pods on a cluster
    #[arg(long)]
    local: bool,

    /// Folder or URI of this run itself, instead of STORAGE/NAME
    #[arg(long, value_name = "DIR", requires = "local")]
    run_dir: Option<String>,

    #[command(flatten)]
    start: StartArgs,

    /// Only say what a launch would do. With =server ask the cluster too, whether the run is there and whether it would take
    /// the objects
    #[arg(
        long,
        value_enum,
        value_name = "WHOM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRun>,

    /// How long to follow a run on a cluster: to its end, its first step, or not at all
    #[arg(
        long,
        value_enum,
        value_name = "UNTIL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "end",
        default_missing_value = "end",
        conflicts_with = "local",
        help_heading = "Cluster"
    )]
    wait: Until,

    /// Bring this folder along, except what .gitignore and .lockstepignore name; COMMAND runs in it
    #[arg(long, value_name = "DIR", conflicts_with = "local", help_heading = "Cluster")]
    sync: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The options that say what a launch starts from.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StartArgs {
    /// Start over; what is there stays, under older generations
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,

    /// Where to start: auto (at the newest good checkpoint, if there is one), must (the same, but without one it is an error),
    /// or the STEP of a checkpoint
    #[arg(long, value_name = "WHICH", default_value = "auto", value_parser = Resume::from_str)]
    resume: Resume,
}

impl StartArgs {
    /// What it starts from.
    pub(in crate::cli) fn resume(&self) -> Resume {
        self.resume.or_fresh(self.fresh)
    }
}

/// How long a run on a cluster is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// To its end.
    End,
    /// To its first step.
    FirstStep,
    /// Not at all: only create its objects.
    Created,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let launched_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let resolved = args.job.resolve()?;
    if !args.local {
        return block_on(cluster::launch(args, context, &resolved));
    }
    let here = resolved.on_this_machine(args.job.folder(), Path::new("."));
    let here = here.map_err(|error| Failure::usage(format!("can't tell where to put the run: {error}")))?;
    check_env(&here.job)?;
    match args.dry_run {
        Some(DryRun::Server) => {
            Err(Failure::usage("there is no cluster to ask about a launch on this machine")
                .note("fix", "--dry-run, or leave out --local")
                .into())
        }
        Some(DryRun::Client) => block_on(local::dry_run(args, context, &here)),
        None => block_on(local::launch(args, context, &here, launched_at)),
    }
}

/// The fields in which another job differs, as a clause.
fn differ(fields: &[String]) -> String {
    let verb = if fields.len() == 1 { "differs" } else { "differ" };
    format!("{} {verb}", fields.join(", "))
}

fn summary(status: &RunStatus) -> String {
    let word = match status.phase {
        RunPhase::Interrupted => "stopped",
        phase => phase_name(phase),
    };
    let mut head = vec![word.to_owned()];
    // A user's own command reports no steps.
    head.extend(status.total_steps.map(|total| format!("step {}/{total}", status.step)));
    head.extend(status.eval.iter().map(|(name, value)| format!("eval.{} {value:.3}", plain_line(name))));
    head.extend(status.loss.map(|loss| format!("loss {loss:.4}")));
    let mut tail = Vec::new();
    tail.extend(status.last_checkpoint.as_ref().map(|c| format!("checkpoint  {}", c.uri)));
    tail.push(format!("restarts {}", status.restarts));
    // Nothing of interest where nothing happened.
    let goodput = status.goodput.filter(|_| status.restarts > 0);
    tail.extend(goodput.map(|share| format!("goodput {:.1} %", share * 100.0)));
    tail.extend(
        status.repeated_steps.filter(|_| status.restarts > 0).map(|steps| format!("repeated steps {steps}")),
    );
    tail.extend(
        status.gpu_seconds.map(|s| format!("gpu time {}", coarse(Duration::from_secs_f64(s.max(0.0))))),
    );
    tail.extend(status.time_to_first_step_seconds.map(|s| format!("time to first step {s:.2}s")));
    format!("{}\n  {}", head.join("  "), tail.join("   "))
}

/// Prints the result of a launch. How the run ended is the exit code, whether or not anybody can read this.
async fn deliver(context: &Context, text: anyhow::Result<String>) {
    let output = context.output;
    let print = move || match text.and_then(|text| Ok(output.text(&text)?)) {
        Err(error) if !error.downcast_ref().is_some_and(Unprinted::is_closed) => say!("warning: {error:#}"),
        _ => {}
    };
    patiently(print).await;
}

fn plural(n: u32, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// The command that the user typed, without `--fresh` and `--resume`: what carries on.
fn command(args: &Args) -> String {
    retyped(args, &[])
}

/// The same with `--fresh`: what starts over.
fn fresh_command(args: &Args) -> String {
    retyped(args, &["--fresh"])
}

fn retyped(args: &Args, more: &[&str]) -> String {
    let mut words = vec!["lockstep".to_owned(), "launch".to_owned()];
    words.extend(args.job.words());
    words.extend(args.local.then(|| "--local".to_owned()));
    let sync = args.sync.as_ref().map(|dir| dir.to_string_lossy().into_owned());
    for (option, value) in [
        ("--sync", &sync),
        ("--run-dir", &args.run_dir),
        ("--context", &args.cluster.context),
        ("--namespace", &args.cluster.namespace),
    ] {
        words.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
    }
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words.extend(args.job.last_words());
    shell::join(words)
}

fn check_env(job: &JobSpec) -> anyhow::Result<()> {
    job.env.expand(environment::variable).map(drop).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::usage(all.join("\n")).into()
    })
}

/// A run that lives goes on from where it is.
fn starts_over(name: &str, stop: &str) -> anyhow::Error {
    Failure::usage(format!("run {name} is running, so it can't begin at another step"))
        .note("stop it first", stop)
        .note("or follow it", "launch without --fresh and --resume")
        .into()
}
