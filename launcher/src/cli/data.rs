mod copy;
mod inspect;
mod pack;
mod seal;
mod verify;

use indicatif::BinaryBytes;
use lockstep_datasets::SplitSummary;

use crate::{Context, Exit, output::columns, plain::plain_line};

/// Make, copy, describe, check and seal datasets
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    Pack => pack,
    Copy => copy,
    Inspect => inspect,
    Verify => verify,
    Seal => seal,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    args.command.run(context)
}

/// The splits of a dataset, a line for each.
fn splits(splits: &[SplitSummary]) -> String {
    let row = |split: &SplitSummary| {
        let name = if split.split.is_empty() { "." } else { &split.split };
        let columns = split.columns.iter().map(|(name, encoding)| format!("{name}:{encoding}"));
        [
            plain_line(name).into_owned(),
            match split.format {
                "tokens" => format!("{} tokens", split.samples),
                _ => split.samples.to_string(),
            },
            split.shards.to_string(),
            BinaryBytes(split.stored_bytes).to_string(),
            plain_line(split.compression.as_deref().unwrap_or("-")).into_owned(),
            plain_line(&columns.collect::<Vec<_>>().join(" ")).into_owned(),
            split.digest.clone(),
        ]
    };
    let heading = ["SPLIT", "SAMPLES", "SHARDS", "SIZE", "COMPRESSION", "COLUMNS", "DIGEST"];
    columns(&heading, splits.iter().map(row))
}
