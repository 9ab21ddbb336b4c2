use crate::runs::RunArg;
use crate::view::coarse;
use crate::{Context, Exit, block_on, output};
use lockstep_run::checkpoint::{MODEL, Verdict};
use lockstep_run::{CommitRef, Generation, RunDir};
use serde_json::{Value, json};
use std::time::Duration;

/// List or check a run's checkpoints
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the checkpoints, newest first, and mark those on branches that the run has left
    ///
    /// Runs that learned the same have the same MODEL HASH, even if one of them was disturbed. The state's hash, in JSON, covers
    /// all files, one of which names the generation.
    List {
        #[command(flatten)]
        run: RunArg,
    },
    /// Read every byte of every checkpoint and compare it with its commit record; exit code 1 if anything is wrong
    Verify {
        #[command(flatten)]
        run: RunArg,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        match &args.what {
            What::List { run } => list(&run.open().await?, context).await,
            What::Verify { run } => verify(&run.open().await?, context).await,
        }
    })
}

/// All checkpoints, those of the run's lineage first, with whether they belong to it.
async fn all(dir: &RunDir) -> anyhow::Result<Vec<(CommitRef, bool)>> {
    let newest: Generation = dir.newest_generation().await?;
    let lineage = dir.lineage(newest).await?;
    let left: Vec<_> = dir.commits().await?.into_iter().rev().filter(|c| !lineage.contains(c)).collect();
    let lineage = lineage.into_iter().map(|c| (c, true));
    Ok(lineage.chain(left.into_iter().map(|c| (c, false))).collect())
}

async fn list(dir: &RunDir, context: &Context) -> anyhow::Result<Exit> {
    let (mut rows, mut cells) = (Vec::new(), Vec::new());
    for (checkpoint, current) in all(dir).await? {
        match dir.read_commit(checkpoint).await {
            Ok(commit) => {
                let model_hash = commit.files.get(MODEL).map(|file| &file.blake3);
                let age = jiff::Timestamp::now().duration_since(commit.at).as_secs().max(0) as u64;
                cells.push([
                    commit.step.to_string(),
                    commit.generation.to_string(),
                    coarse(Duration::from_secs(age)),
                    commit.num_bytes().to_string(),
                    model_hash.map_or_else(|| "-".into(), |hash| hash.chars().take(12).collect()),
                    if current { "current" } else { "left" }.to_owned(),
                    dir.uri(&commit.folder),
                ]);
                rows.push(json!({
                    "step": commit.step, "generation": commit.generation, "at": commit.at, "bytes": commit.num_bytes(),
                    "state_hash": commit.state_hash, "model_hash": model_hash, "current": current,
                    "uri": dir.uri(&commit.folder),
                }));
            }
            Err(error) => {
                let (step, generation) = (checkpoint.step.to_string(), checkpoint.generation.to_string());
                cells.push([
                    step,
                    generation,
                    "-".into(),
                    "-".into(),
                    "damaged".into(),
                    "-".into(),
                    error.to_string(),
                ]);
                rows.push(json!({ "step": checkpoint.step, "generation": checkpoint.generation, "problem": error.to_string() }));
            }
        }
    }
    let heading = ["STEP", "GEN", "AGE", "BYTES", "MODEL HASH", "LINEAGE", "FOLDER"];
    context.output.result(&rows, || {
        if rows.is_empty() { "no checkpoints yet".to_owned() } else { output::columns(&heading, cells) }
    })?;
    Ok(Exit::Done)
}

async fn verify(dir: &RunDir, context: &Context) -> anyhow::Result<Exit> {
    let mut verdicts = Vec::new();
    for (checkpoint, _) in all(dir).await? {
        verdicts.push(dir.verify_checkpoint(checkpoint).await?);
    }
    let bad = verdicts.iter().filter(|v| !v.problems.is_empty()).count();
    let json: Vec<Value> = verdicts.iter().map(as_json).collect();
    context.output.result(&json, || {
        let mut lines: Vec<_> = verdicts.iter().map(line).collect();
        lines.push(format!("{} good, {bad} damaged", verdicts.len() - bad));
        lines.join("\n")
    })?;
    Ok(if bad == 0 { Exit::Done } else { Exit::Failed })
}

fn line(verdict: &Verdict) -> String {
    let CommitRef { generation, step } = verdict.checkpoint;
    match verdict.problems.is_empty() {
        true => format!("ok       {step} (generation {generation})"),
        false => format!("damaged  {step} (generation {generation}): {}", verdict.problems.join("; ")),
    }
}

fn as_json(verdict: &Verdict) -> Value {
    let CommitRef { generation, step } = verdict.checkpoint;
    json!({ "step": step, "generation": generation, "ok": verdict.problems.is_empty(), "problems": verdict.problems })
}
