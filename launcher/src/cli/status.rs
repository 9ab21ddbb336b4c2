use crate::cluster::{self, Board, Cluster, ClusterRun};
use crate::outage::Outage;
use crate::output::{say, tell};
use crate::plain::{plain, plain_line};
use crate::runs::{self, PlaceArgs, Run, RunArg};
use crate::view::{coarse, gpus, pace, phase_name, spent, thousands};
use crate::{Context, Exit, Format, block_on, output};
use clap_complete::engine::ArgValueCandidates;
use console::Term;
use futures::{StreamExt, TryStreamExt};
use lockstep_run::RunDir;
use lockstep_run::status::RunStatus;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How long a leader may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often `--watch` reads what runs in ./runs wrote. Runs on a cluster are watched, not asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Runs whose pods are asked at one time.
const AT_ONCE: usize = 4;

/// Show the state of a run, or of all runs in ./runs and on the cluster
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a run in ./runs or on the cluster, or a run's folder or URI; without it, all runs are shown
    #[arg(value_name = "RUN", add = ArgValueCandidates::new(runs::names))]
    run: Option<String>,

    /// Show it again whenever it changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        if args.watch {
            return watch(args, context).await;
        }
        let all = told(args).await?;
        show(args, context, &all, None)?;
        Ok(Exit::Done)
    })
}

fn show(args: &Args, context: &Context, all: &[RunStatus], screen: Option<&Term>) -> anyhow::Result<()> {
    let wide = context.output.format == Format::Wide;
    let text = || match all.is_empty() {
        true => {
            "no runs; start one with: lockstep launch -f JOB.yaml, or with --local on this machine".into()
        }
        false => described(args, table(all, wide), all, wide),
    };
    match (screen, &args.run, all.first()) {
        (Some(screen), ..) => {
            // In one piece, so that nothing flickers.
            screen.clear_screen()?;
            screen.write_line(&text())?;
            screen.flush()?;
        }
        (None, Some(_), Some(one)) => context.output.result(one, text)?,
        (None, ..) => context.output.result(&all, text)?,
    }
    Ok(())
}

/// The table; below it, of one run that was asked for by name, what sets its pace, and where there is room what its time has
/// gone to, and what its GPUs do.
fn described(args: &Args, table: String, all: &[RunStatus], wide: bool) -> String {
    let one = args.run.as_ref().and(all.first());
    let gpus = one.filter(|_| wide).and_then(gpus);
    let spent = one.filter(|_| wide).and_then(spent);
    std::iter::once(table).chain(one.and_then(pace)).chain(spent).chain(gpus).collect::<Vec<_>>().join("\n")
}

async fn watch(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let screen = Some(Term::buffered_stdout()).filter(|t| t.is_term() && !context.output.format.is_data());
    let (local, cluster) = sources(args).await?;
    let mut board = cluster.as_ref().map(|cluster| Board::new(cluster, args.run.as_deref()));
    let mut stored = local.read().await?;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let (mut shown, mut outage) = (None, Outage::default());
    loop {
        let mut ticked = false;
        tokio::select! {
            changed = changed(&mut board) => {
                if let Err(error) = changed {
                    if args.run.is_some() || args.place.names_cluster() {
                        return Err(error);
                    }
                    say!("the runs on the cluster are not shown: {error:#}");
                    board = None;
                }
            }
            _ = ticks.tick() => {
                stored = outage.pass(local.read().await, tell)?.unwrap_or(stored);
                ticked = true;
            }
            _ = interrupt.recv() => return Ok(Exit::Interrupted),
        }
        let mut all = stored.clone();
        all.extend(board.as_ref().map(Board::statuses).unwrap_or_default());
        let timeless: Vec<_> = all.iter().map(timeless).collect();
        if shown.as_ref() != Some(&timeless) || (ticked && screen.is_some()) {
            show(args, context, &all, screen.as_ref())?;
            shown = Some(timeless);
        }
    }
}

async fn changed(board: &mut Option<Board<'_>>) -> anyhow::Result<()> {
    match board {
        Some(board) => board.changed().await,
        None => std::future::pending().await,
    }
}

/// A status without what changes by itself.
fn timeless(status: &RunStatus) -> RunStatus {
    let mut status = RunStatus {
        eta_seconds: None,
        gpus: vec![],
        gpu_seconds: None,
        account: None,
        goodput: None,
        ..status.clone()
    };
    status.last_checkpoint.iter_mut().for_each(|checkpoint| checkpoint.age_seconds = 0);
    status
}

/// The runs whose records this machine reads.
enum Local {
    All,
    One(RunDir),
    None,
}

impl Local {
    async fn read(&self) -> anyhow::Result<Vec<RunStatus>> {
        match self {
            Self::All => local().await,
            Self::One(dir) => Ok(runs::status(dir, DEADLINE).await?.into_iter().collect()),
            Self::None => Ok(vec![]),
        }
    }
}

/// What is read, and what is watched.
async fn sources(args: &Args) -> anyhow::Result<(Local, Option<Cluster>)> {
    let Some(run) = &args.run else {
        let local = if args.place.names_cluster() { Local::None } else { Local::All };
        return Ok((local, args.place.cluster().await?));
    };
    Ok(match (RunArg { run: run.clone(), place: args.place.clone() }).find().await? {
        Run::Stored(dir) => (Local::One(dir), None),
        Run::OnCluster(run) => (Local::None, Some(run.cluster)),
    })
}

/// What there is.
async fn told(args: &Args) -> anyhow::Result<Vec<RunStatus>> {
    let Some(run) = &args.run else {
        let mut all = if args.place.names_cluster() { vec![] } else { local().await? };
        all.extend(on_cluster(&args.place).await?);
        return Ok(all);
    };
    match (RunArg { run: run.clone(), place: args.place.clone() }).find().await? {
        Run::Stored(dir) => Ok(runs::status(&dir, DEADLINE).await?.into_iter().collect()),
        Run::OnCluster(run) => Ok(vec![cluster::whole_status(&run).await?]),
    }
}

/// The runs in ./runs. One that can't be read hides no other.
async fn local() -> anyhow::Result<Vec<RunStatus>> {
    let read = runs::local().into_iter().map(|path| async move {
        let read = async {
            let dir = RunDir::open(&runs::absolute(&path.to_string_lossy())?)?;
            anyhow::Ok(runs::status(&dir, DEADLINE).await?)
        };
        read.await.unwrap_or_else(|error| {
            say!(
                "run {} is not shown: {}",
                plain_line(&path.to_string_lossy()),
                plain(&format!("{error:#}"))
            );
            None
        })
    });
    Ok(futures::future::join_all(read).await.into_iter().flatten().collect())
}

/// Without a cluster there are none; one that doesn't answer is named, and the others are shown.
async fn on_cluster(place: &PlaceArgs) -> anyhow::Result<Vec<RunStatus>> {
    let Some(cluster) = place.cluster().await? else { return Ok(vec![]) };
    let found = match cluster::list(&cluster).await {
        Ok(found) => found,
        Err(error) if place.names_cluster() => return Err(error),
        Err(error) => {
            say!("the runs on {} are not shown: {error}", cluster.context);
            return Ok(vec![]);
        }
    };
    let ask = |run: ClusterRun| async move { cluster::status(&run).await };
    futures::stream::iter(found.into_iter().map(ask)).buffered(AT_ONCE).try_collect().await
}

fn table(all: &[RunStatus], wide: bool) -> String {
    let mut heading =
        vec!["RUN", "PHASE", "NODES", "STEP", "LOSS", "EVAL", "ETA", "CKPT", "GEN", "RESTARTS", "WHY"];
    if wide {
        heading.splice(
            10..10,
            ["SAMPLES/S", "TOKENS/S", "FIRST STEP", "GPU TIME", "GOODPUT", "REPEATED", "RUN DIR"],
        );
    }
    output::columns(&heading, all.iter().map(|status| row(status, wide)))
}

fn row(s: &RunStatus, wide: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let eval: Vec<_> =
        s.eval.iter().map(|(name, value)| format!("{} {value:.3}", plain_line(name))).collect();
    let age = |seconds: i64| coarse(Duration::from_secs(seconds.max(0) as u64));
    let checkpoint = s.last_checkpoint.as_ref();
    let mut row = vec![
        plain_line(&s.name).into_owned(),
        phase_name(s.phase).to_owned(),
        format!("{}/{}", s.nodes.0, s.nodes.1),
        // A command tells of no steps.
        s.total_steps.map_or_else(dash, |total| format!("{}/{total}", s.step)),
        s.loss.map_or_else(dash, |l| format!("{l:.4}")),
        if eval.is_empty() { dash() } else { eval.join(" ") },
        s.eta_seconds.map_or_else(dash, |seconds| age(seconds as i64)),
        checkpoint.map_or_else(dash, |c| format!("{} ({} ago)", c.step, age(c.age_seconds))),
        s.generation.to_string(),
        s.restarts.to_string(),
    ];
    if wide {
        row.push(s.samples_per_second.map_or_else(dash, thousands));
        row.push(s.tokens_per_second.map_or_else(dash, thousands));
        row.push(s.time_to_first_step_seconds.map_or_else(dash, |seconds| format!("{seconds:.2}s")));
        row.push(s.gpu_seconds.map_or_else(dash, |seconds| age(seconds as i64)));
        row.push(s.goodput.map_or_else(dash, |share| format!("{:.1}%", share * 100.0)));
        row.push(s.repeated_steps.map_or_else(dash, |steps| steps.to_string()));
        row.push(plain_line(&s.run_dir).into_owned());
    }
    row.push(plain_line(s.why.as_deref().unwrap_or_default()).into_owned());
    row
}
