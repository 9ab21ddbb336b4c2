use lockstep_datasets::SealedSplit;

use crate::{Context, Exit, output::columns};

/// Write the hashes of a dataset's files into its index
///
/// An index without hashes, as MDSWriter writes it by default, can't tell whether its files are still what they were. This
/// reads every byte, checks each value, and then replaces the index in one step, unless somebody changed it meanwhile. Other
/// tools read the dataset as before. Token files without an index get one, which also says how large their tokens are.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep data seal s3://bucket/datasets/photos
A split whose index has hashes is left alone. A run that was trained on the dataset before can carry on: it compares what it \
read with what is there.")]
pub(in crate::cli) struct Args {
    /// The dataset, or one split of it: a folder, or a file://, s3://, gs:// or az:// URI
    uri: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let done = lockstep_datasets::seal(&args.uri)?;
    context.output.result(&done, || {
        let row = |split: &SealedSplit| {
            [
                if split.split.is_empty() { "." } else { &split.split }.to_owned(),
                split.samples.to_string(),
                split.shards.to_string(),
                if split.was_sealed { "had hashes already" } else { "sealed" }.to_owned(),
                split.digest.clone(),
            ]
        };
        columns(&["SPLIT", "SAMPLES", "SHARDS", "INDEX", "DIGEST"], done.splits.iter().map(row))
    })?;
    Ok(Exit::Done)
}
