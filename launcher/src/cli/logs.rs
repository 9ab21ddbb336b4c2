use crate::runs::RunArg;
use crate::{Context, Exit, block_on};
use lockstep_run::RunDir;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often new segments are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Show what the workers of a run printed
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
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let dir = args.run.open().await?;
        let mut seen = BTreeSet::new();
        loop {
            // Asked before the segments are read, so that nothing written before the end is missed.
            let over = dir.newest_membership().await?.is_none_or(|m| m.outcome().is_some());
            for text in new_segments(&dir, &mut seen).await? {
                let lines: Vec<_> = text.lines().filter(|line| is_of(line, args.rank)).collect();
                if !lines.is_empty() {
                    context.output.text(&lines.join("\n"))?;
                }
            }
            if over || !args.follow {
                return Ok(Exit::Done);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

/// Texts of the log segments that were not seen before, each node's in their order.
async fn new_segments(dir: &RunDir, seen: &mut BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for meta in dir.storage().list("logs").await? {
        if seen.insert(meta.path.clone()) {
            texts.push(String::from_utf8_lossy(&dir.storage().get(&meta.path).await?).into_owned());
        }
    }
    Ok(texts)
}

fn is_of(line: &str, rank: Option<u32>) -> bool {
    rank.is_none_or(|rank| line.starts_with(&format!("[rank {rank}]")))
}
