use crate::cluster::{self, ClusterRun, LogLine, LogWish};
use crate::outage::Outage;
use crate::output::{say, tell};
use crate::plain::plain_line;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, Format, block_on};
use console::{Color, Term, style};
use lockstep_job::Span;
use lockstep_run::control::{self, Request};
use lockstep_run::segment::{LOGS, Segment, Series};
use lockstep_run::{Generation, Line, Membership, NodeId, RunDir};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often new segments are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// After so long without a line it is asked whether anybody works on the run.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// A run on which nobody has worked for so long gets no more lines.
const PATIENCE: Duration = Duration::from_secs(15);

/// Show what the workers of a run printed
///
/// On a cluster, this reads the logs of all pods, in order of time. If the pods are gone, it reads what they had written to
/// the run's storage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// Keep printing until the run ends
    #[arg(short, long)]
    follow: bool,

    /// Only this rank's lines
    #[arg(long)]
    rank: Option<u32>,

    /// Only output of the last TIME, such as 10m; on a cluster only
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,

    /// Only output of pods that have since been replaced, and of agents that died before their pod's newest one
    #[arg(long, conflicts_with = "follow")]
    previous: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if matches!(context.output.format, Format::Json | Format::Yaml) {
        return Err(Failure::usage("the output of workers is text; logs has no -o json or yaml")
            .note("as records", format!("{} -o json", args.run.command("events")))
            .into());
    }
    block_on(async {
        match args.run.find().await? {
            Run::Stored(dir) => stored(args, context, &dir).await,
            Run::OnCluster(run) => on_cluster(args, context, &run).await,
        }
    })
}

async fn stored(args: &Args, context: &Context, dir: &RunDir) -> anyhow::Result<Exit> {
    if args.since.is_some() {
        return Err(Failure::usage(
            "--since needs the pods of a run on a cluster; stored output has no times",
        )
        .into());
    }
    let (mut seen, mut shown) = (BTreeMap::new(), false);
    let (mut newest, mut outage) = (None, Outage::default());
    let mut heard = Instant::now();
    loop {
        // Asked before the segments are read, so that nothing written before the end is missed.
        let known = newest.as_ref().map_or(Generation(0), |m: &Membership| m.generation);
        let read = async {
            let found = dir.newest_since(known).await?;
            anyhow::Ok((found, show_segments(args, context, dir, None, &mut seen).await?))
        };
        let read = read.await;
        // Only who follows waits for a store.
        let read = if args.follow { outage.pass(read, tell)? } else { Some(read?) };
        let Some((found, has_new)) = read else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        newest = found.or(newest);
        let over = newest.as_ref().is_some_and(|m| m.outcome().is_some());
        shown |= has_new;
        if over || !args.follow {
            say_if_nothing(args, shown);
            return Ok(Exit::Done);
        }
        if has_new || (heard.elapsed() > ASK_EVERY && !is_deserted(dir).await) {
            heard = Instant::now();
        } else if heard.elapsed() > PATIENCE {
            say_if_nothing(args, shown);
            say!("run {} has no workers any more; see: {}", args.run.run, args.run.command("status"));
            return Ok(Exit::Done);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn on_cluster(args: &Args, context: &Context, run: &ClusterRun) -> anyhow::Result<Exit> {
    let since_seconds = args.since.map(|span| i64::try_from(span.duration().as_secs()).unwrap_or(i64::MAX));
    let wish = LogWish { tail: None, since_seconds, previous: args.previous, tellers: false };
    let mut shown = false;
    let mut show = |line: LogLine| {
        if let Some(text) = printed(&line).filter(|text| is_of(text, args.rank)) {
            context.output.text(&colored(&text))?;
            shown = true;
        }
        anyhow::Ok(())
    };
    if args.follow {
        cluster::follow_logs(&run.cluster, &run.name, wish, show).await?;
        return Ok(Exit::Done);
    }
    let lines = cluster::logs(&run.cluster, &run.name, wish).await?;
    // An agent's first line says that it joined, so a node without lines has no such pod any more. When a run is done the
    // cluster takes away the pods of those that have not ended by themselves yet.
    let heard: BTreeSet<u32> = lines.iter().map(|line| line.node).collect();
    let gone: Vec<u32> = (0..run.num_nodes()).filter(|node| !heard.contains(node)).collect();
    lines.into_iter().try_for_each(&mut show)?;
    if !gone.is_empty() && since_seconds.is_none() && (args.previous || run.end().is_some()) {
        shown |= of_gone_nodes(args, context, &gone).await?;
    }
    say_if_nothing(args, shown);
    Ok(Exit::Done)
}

/// Whether nobody answers for the run. Who can't be asked may well live.
async fn is_deserted(dir: &RunDir) -> bool {
    matches!(control::ask(dir, Request::Status, ASK_DEADLINE).await, Ok(None))
}

/// An empty answer would leave the user to guess whether it is one.
fn say_if_nothing(args: &Args, shown: bool) {
    if shown {
        return;
    }
    let whose = args.rank.map_or("any worker".to_owned(), |rank| format!("rank {rank}"));
    say!("no output of {whose}; to see what happened: {}", args.run.command("events"));
}

/// Shows what nodes had printed whose pods are gone, if this machine can read the run's storage; false where that is nothing.
async fn of_gone_nodes(args: &Args, context: &Context, nodes: &[u32]) -> anyhow::Result<bool> {
    let dir = match args.run.open().await {
        Ok(dir) => dir,
        Err(error) => {
            let names: Vec<_> = nodes.iter().map(u32::to_string).collect();
            say!("not shown: output of node {}, whose pods are gone: {error:#}", names.join(", "));
            return Ok(false);
        }
    };
    let mut shown = false;
    for node in nodes {
        let node = Some(NodeId(*node));
        shown |= show_segments(args, context, &dir, node, &mut BTreeMap::new()).await?;
    }
    Ok(shown)
}

/// What a worker printed, or an agent without a form; nothing for status lines.
fn printed(line: &LogLine) -> Option<String> {
    match Line::parse(&line.text) {
        Some(Line::Log { rank, text }) => Some(format!("[rank {rank}] {text}")),
        Some(_) => None,
        None => Some(format!("[node {}] {}", line.node, line.text)),
    }
}

/// Prints the log segments, of one node or of all, that were not seen before, each node's in their order; false where there is
/// nothing to print. `seen` holds the number of the next segment of each series.
async fn show_segments(
    args: &Args,
    context: &Context,
    dir: &RunDir,
    node: Option<NodeId>,
    seen: &mut BTreeMap<Series, u64>,
) -> anyhow::Result<bool> {
    let mut shown = false;
    let mut segments = dir.segments(LOGS).await?;
    segments.retain(|segment| node.is_none() || segment.writer.map(|(node, _)| node) == node);
    if args.previous {
        segments = replaced(dir, segments).await?;
    }
    for segment in segments {
        let next = seen.entry(segment.series).or_insert(0);
        if segment.last < *next {
            continue;
        }
        let body = match dir.segment(&segment.path).await {
            Ok(body) => body,
            // Merged into another since it was listed; the next look finds that.
            Err(error) if error.is_not_found() && args.follow => continue,
            Err(error) => return Err(error.into()),
        };
        *next = segment.last.saturating_add(1);
        let text = String::from_utf8_lossy(&body).into_owned();
        let lines: Vec<_> = text.lines().filter(|line| is_of(line, args.rank)).map(colored).collect();
        if !lines.is_empty() {
            context.output.text(&lines.join("\n"))?;
            shown = true;
        }
    }
    Ok(shown)
}

/// Of log segments, those that are not of their node's newest incarnation, which may not have stored any yet.
async fn replaced(dir: &RunDir, segments: Vec<Segment>) -> anyhow::Result<Vec<Segment>> {
    let newest = dir.newest_lives().await?;
    let is_newest =
        |segment: &Segment| segment.writer.is_some_and(|(node, life)| newest.get(&node) == Some(&life));
    Ok(segments.into_iter().filter(|segment| !is_newest(segment)).collect())
}

/// The line with its `[rank N]` in a colour of its own, where a terminal shows it.
fn colored(line: &str) -> String {
    const COLORS: [Color; 6] =
        [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];
    let line = shown(line);
    let Some((name, text)) = line.split_once("] ").filter(|(name, _)| name.starts_with('[')) else {
        return line.into_owned();
    };
    let number: usize = name.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("{} {text}", style(format!("{name}]")).fg(COLORS[number % COLORS.len()]))
}

/// A file gets what was printed; a terminal nothing that it would obey.
fn shown(line: &str) -> Cow<'_, str> {
    if Term::stdout().is_term() { plain_line(line) } else { Cow::Borrowed(line) }
}

/// That lines are missing concerns every rank.
fn is_of(line: &str, rank: Option<u32>) -> bool {
    rank.is_none_or(|rank| line.starts_with(&format!("[rank {rank}]")) || !line.starts_with("[rank "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_has_a_colour_on_a_terminal_and_none_in_a_file() {
        console::set_colors_enabled(false);
        assert_eq!(colored("[rank 1] step 3] done"), "[rank 1] step 3] done");
        console::set_colors_enabled(true);
        assert_eq!(colored("[rank 1] step 3] done"), "\u{1b}[33m[rank 1]\u{1b}[0m step 3] done");
        assert_ne!(colored("[rank 1] a")[..5], colored("[rank 2] a")[..5]);
        assert_eq!(colored("no prefix"), "no prefix");
    }
}
