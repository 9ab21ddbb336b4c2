use crate::{Context, Exit, Failure};

/// Read every byte of a dataset and check it: sizes, hashes, and each value
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 the dataset is good, 1 it is damaged")]
pub(in crate::cli) struct Args {
    /// The dataset, or one split of it: a folder, or a file:// or s3:// URI
    uri: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let found = lockstep_datasets::verify(&args.uri)?;
    context.output.result(&found, || {
        let verdict = if found.is_good() { "good" } else { "damaged" };
        let summary = format!("{} is {verdict}: {} good samples", found.uri, found.good_samples);
        format!("{}\n{summary}", super::splits(&found.splits))
    })?;
    if found.is_good() {
        return Ok(Exit::Done);
    }
    let count = found.problems.len();
    let mut failure =
        Failure::new(format!("{} has {count} problem{}", found.uri, if count == 1 { "" } else { "s" }));
    for problem in &found.problems {
        failure = failure.note("damaged", &problem.error);
    }
    Err(failure
        .note("fix", "copy the damaged files again from where they are whole, or pack the dataset anew")
        .into())
}
