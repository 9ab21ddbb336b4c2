use crate::cluster::{self, ClusterRun};
use crate::runs::{self, PlaceArgs, Run, RunArg};
use crate::view::{coarse, phase_name};
use crate::{Context, Exit, Format, block_on, output};
use console::Term;
use futures::{StreamExt, TryStreamExt};
use lockstep_run::RunDir;
use lockstep_run::status::RunStatus;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a leader may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Runs whose pods are asked at one time.
const AT_ONCE: usize = 4;

/// Show what a run does, or all runs in ./runs and on the cluster
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a run in ./runs or on the cluster, or a run's folder or URI; without it all runs are shown
    #[arg(value_name = "RUN")]
    run: Option<String>,

    /// Show it again and again, until Ctrl-C
    #[arg(short, long)]
    watch: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let (all, text) = told(args).await?;
            let screen = Term::stdout();
            if args.watch && screen.is_term() && context.output.format == Format::Text {
                screen.clear_screen()?;
            }
            match (&args.run, all.first()) {
                (Some(_), Some(one)) => context.output.result(one, || text)?,
                _ => context.output.result(&all, || text)?,
            }
            if !args.watch {
                return Ok(Exit::Done);
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_EVERY) => {}
                _ = interrupt.recv() => return Ok(Exit::Interrupted),
            }
        }
    })
}

/// What there is, and the same as a table.
async fn told(args: &Args) -> anyhow::Result<(Vec<RunStatus>, String)> {
    let all = match &args.run {
        Some(run) => {
            let run = RunArg { run: run.clone(), place: args.place.clone() };
            match run.find().await? {
                Run::Stored(dir) => dir.status(DEADLINE).await?.into_iter().collect(),
                Run::OnCluster(run) => vec![cluster::status(&run).await?],
            }
        }
        None => {
            let mut all = if args.place.names_cluster() { vec![] } else { local().await? };
            all.extend(on_cluster(&args.place).await?);
            all
        }
    };
    let text = match all.is_empty() {
        true => {
            "no runs; start one with: lockstep launch -f JOB.yaml, or with --local on this machine".to_owned()
        }
        false => table(&all),
    };
    Ok((all, text))
}

async fn local() -> anyhow::Result<Vec<RunStatus>> {
    let dirs = runs::local().into_iter().map(|path| async move {
        let dir = RunDir::open(&runs::absolute(&path.to_string_lossy())?)?;
        dir.status(DEADLINE).await.map_err(anyhow::Error::from)
    });
    Ok(futures::future::try_join_all(dirs).await?.into_iter().flatten().collect())
}

/// Without a cluster there are none; one that doesn't answer is named, and the others are shown.
async fn on_cluster(place: &PlaceArgs) -> anyhow::Result<Vec<RunStatus>> {
    let Some(cluster) = place.cluster().await? else { return Ok(vec![]) };
    let found = match cluster::list(&cluster).await {
        Ok(found) => found,
        Err(error) if place.names_cluster() => return Err(error),
        Err(error) => {
            eprintln!("the runs on {} are not shown: {error}", cluster.context);
            return Ok(vec![]);
        }
    };
    let ask = |run: ClusterRun| async move { cluster::status(&run).await };
    futures::stream::iter(found.into_iter().map(ask)).buffered(AT_ONCE).try_collect().await
}

fn table(all: &[RunStatus]) -> String {
    let row = |s: &RunStatus| {
        let dash = || "-".to_owned();
        let total = s.total_steps.map_or(String::new(), |t| format!("/{t}"));
        let eval: Vec<_> = s.eval.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let age = |seconds: i64| coarse(Duration::from_secs(seconds.max(0) as u64));
        [
            s.name.clone(),
            phase_name(s.phase).to_owned(),
            format!("{}/{}", s.nodes.0, s.nodes.1),
            format!("{}{total}", s.step),
            s.loss.map_or_else(dash, |l| format!("{l:.4}")),
            if eval.is_empty() { dash() } else { eval.join(" ") },
            s.last_checkpoint
                .as_ref()
                .map_or_else(dash, |c| format!("{} ({} ago)", c.step, age(c.age_seconds))),
            s.generation.to_string(),
            s.restarts.to_string(),
            s.why.clone().unwrap_or_default(),
        ]
    };
    let heading = ["RUN", "PHASE", "NODES", "STEP", "LOSS", "EVAL", "CKPT", "GEN", "RESTARTS", "WHY"];
    output::columns(heading, all.iter().map(row))
}
