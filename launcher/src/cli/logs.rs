use crate::cluster::{self, ClusterRun, LogLine, LogWish};
use crate::output::say;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use console::{Color, style};
use lockstep_jobspec::Span;
use lockstep_run::{Incarnation, Line, NodeId, RunDir};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often new segments are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Show what the workers of a run printed
///
/// On a cluster it is what the pods' logs hold, of all nodes in order of time; where the pods are gone, it is what they had
/// written to the run's storage.
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

    /// Only what was printed since then, like 10m; on a cluster only
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,

    /// Only what those printed whose place others have taken: of a node that came back, what led to its loss
    #[arg(long, conflicts_with = "follow")]
    previous: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
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
            "--since needs the pods of a run on a cluster: what is stored has no times",
        )
        .into());
    }
    let (mut seen, mut shown) = (BTreeSet::new(), false);
    loop {
        // Asked before the segments are read, so that nothing written before the end is missed.
        let over = dir.newest_membership().await?.is_none_or(|m| m.outcome().is_some());
        shown |= show_segments(args, context, dir, "logs", &mut seen).await?;
        if over || !args.follow {
            say_if_nothing(args, shown);
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

/// An empty answer would leave the user to guess whether it is one.
fn say_if_nothing(args: &Args, shown: bool) {
    if shown {
        return;
    }
    let whose = args.rank.map_or("any worker".to_owned(), |rank| format!("rank {rank}"));
    say!("no lines of {whose}; what the run went through: lockstep events {}", args.run.run);
}

/// Shows what nodes had printed whose pods are gone, if this machine can read the run's storage; false where that is nothing.
async fn of_gone_nodes(args: &Args, context: &Context, nodes: &[u32]) -> anyhow::Result<bool> {
    let dir = match args.run.open().await {
        Ok(dir) => dir,
        Err(error) => {
            let names: Vec<_> = nodes.iter().map(u32::to_string).collect();
            say!("not shown: node {}, whose pods are gone; {error:#}", names.join(", "));
            return Ok(false);
        }
    };
    let mut shown = false;
    for node in nodes {
        shown |= show_segments(args, context, &dir, &format!("logs/{node}"), &mut BTreeSet::new()).await?;
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

/// Prints the log segments below a folder that were not seen before, each node's in their order; false where there is nothing
/// to print.
async fn show_segments(
    args: &Args,
    context: &Context,
    dir: &RunDir,
    folder: &str,
    seen: &mut BTreeSet<String>,
) -> anyhow::Result<bool> {
    let mut shown = false;
    let mut paths: Vec<_> = dir.storage().list(folder).await?.into_iter().map(|meta| meta.path).collect();
    if args.previous {
        paths = replaced(dir, paths).await?;
    }
    for path in paths {
        if !seen.insert(path.clone()) {
            continue;
        }
        let text = String::from_utf8_lossy(&dir.storage().get(&path).await?).into_owned();
        let lines: Vec<_> = text.lines().filter(|line| is_of(line, args.rank)).map(colored).collect();
        if !lines.is_empty() {
            context.output.text(&lines.join("\n"))?;
            shown = true;
        }
    }
    Ok(shown)
}

/// Of log segments, those that are not of their node's newest incarnation, which may not have stored any yet.
async fn replaced(dir: &RunDir, paths: Vec<String>) -> anyhow::Result<Vec<String>> {
    let mut newest = BTreeMap::new();
    for node in paths.iter().filter_map(|path| Some(life(path)?.0)).collect::<BTreeSet<_>>() {
        newest.insert(node, dir.newest_join(node).await?.map(|join| join.incarnation));
    }
    let is_newest = |path: &String| life(path).is_some_and(|(node, life)| newest[&node] == Some(life));
    Ok(paths.into_iter().filter(|path| !is_newest(path)).collect())
}

/// Whose segment it is: `logs/<node>/<incarnation>-<seq>.log`.
fn life(path: &str) -> Option<(NodeId, Incarnation)> {
    let mut parts = path.rsplit('/');
    let (incarnation, _) = parts.next()?.split_once('-')?;
    Some((NodeId(parts.next()?.parse().ok()?), Incarnation(incarnation.parse().ok()?)))
}

/// The line with its `[rank N]` in a colour of its own, where a terminal shows it.
fn colored(line: &str) -> String {
    const COLORS: [Color; 6] =
        [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];
    let Some((name, text)) = line.split_once("] ").filter(|(name, _)| name.starts_with('[')) else {
        return line.to_owned();
    };
    let number: usize = name.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("{} {text}", style(format!("{name}]")).fg(COLORS[number % COLORS.len()]))
}

fn is_of(line: &str, rank: Option<u32>) -> bool {
    rank.is_none_or(|rank| line.starts_with(&format!("[rank {rank}]")))
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

    #[test]
    fn a_segment_tells_whose_it_is() {
        assert_eq!(life("logs/12/0003-000000.log"), Some((NodeId(12), Incarnation(3))));
        assert_eq!(life("logs/12/odd"), None);
    }
}
