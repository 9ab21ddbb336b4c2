use crate::cluster::ClusterArgs;
use crate::runs::{PlaceArgs, RunArg, absolute};
use crate::{Context, Exit, Failure, block_on, shell};
use lockstep_datasets::{Contents, Recorded, Verification};
use lockstep_run::RunDir;
use lockstep_run::checkpoint::hash_file;
use serde::Deserialize;

/// What a checkpoint says of itself.
const STATE: &str = "state.json";

/// Read every byte of a dataset and check sizes, hashes and values
#[derive(Debug, clap::Args)]
#[command(
    after_help = "If the index has no hashes, it can't tell whether the files are the ones that were written. --run compares \
them with what a run read, and lockstep data seal writes the hashes.
Exit code: 0 nothing is wrong, 1 the dataset is damaged or has changed"
)]
pub(in crate::cli) struct Args {
    /// The dataset, or one split of it: a folder, or a file://, s3://, gs:// or az:// URI
    uri: String,

    /// Compare with what this run was trained on: a run in ./runs, or a run's folder or URI
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let recorded = args.run.as_ref().map(|run| block_on(recorded(run))).transpose()?;
    let found = lockstep_datasets::verify(&args.uri, recorded.as_ref())?;
    context.output.result(&found, || format!("{}\n{}", super::splits(&found.splits), verdict(&found)))?;
    if found.problems.is_empty() {
        return Ok(Exit::Done);
    }
    let count = found.problems.len();
    let mut failure =
        Failure::new(format!("{} has {count} problem{}", found.uri, if count == 1 { "" } else { "s" }));
    for problem in &found.problems {
        failure = failure.note("damaged", &problem.error);
    }
    Err(failure
        .note("fix", "copy the damaged files again from an intact copy, or pack the dataset again")
        .into())
}

fn verdict(found: &Verification) -> String {
    let Verification { uri, good_samples, unproven_samples, .. } = found;
    let all_tokens = found.splits.iter().all(|split| split.format == "tokens");
    let samples = if all_tokens && !found.splits.is_empty() { "tokens" } else { "samples" };
    if found.is_good() {
        return format!("{uri} is good: {good_samples} good {samples}");
    }
    if !found.problems.is_empty() {
        return format!("{uri} is damaged: {good_samples} good {samples}");
    }
    let seal = shell::join(["lockstep", "data", "seal", uri]);
    format!(
        "{uri} can be read, but {unproven_samples} of {good_samples} {samples} can't be checked: no index has hashes of their \
         files, so they may have been changed in place. {seal} writes the hashes of what is there now"
    )
}

/// What the newest checkpoint of a run says of its data.
async fn recorded(run: &str) -> anyhow::Result<Recorded> {
    #[derive(Deserialize)]
    struct State {
        dataset: Dataset,
    }
    #[derive(Deserialize)]
    struct Dataset {
        uri: String,
        digest: String,
        #[serde(default)]
        shards: Contents,
    }
    let place = PlaceArgs { local: true, cluster: ClusterArgs::default() };
    let dir: RunDir = RunArg { run: run.to_owned(), place }.open().await?;
    let lineage = dir.lineage(dir.newest_generation().await?).await?;
    let Some(newest) = lineage.first() else {
        return Err(Failure::new(format!("{} has no checkpoint to compare with", dir.uri(""))).into());
    };
    let commit = dir.read_commit(*newest).await?;
    let path = format!("{}/{STATE}", commit.folder);
    let expected = commit.files.get(STATE);
    let text = dir.storage().get_at_most(&path, expected.map_or(0, |file| file.bytes)).await?;
    if expected != Some(&hash_file(&text)) {
        return Err(Failure::new(format!("{} is damaged", dir.uri(&path)))
            .note("look at", shell::join(["lockstep", "checkpoint", "verify", run]))
            .into());
    }
    let State { dataset } = serde_json::from_slice(&text)?;
    Ok(Recorded { uri: absolute(&dataset.uri)?, index: dataset.digest, contents: dataset.shards })
}
