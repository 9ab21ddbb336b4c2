use crate::plain::plain_line;
use crate::{Context, Exit};

/// Show what a dataset holds, from its indexes alone
///
/// Of token files without an index the headers are read. Tokens are counted there, since a job says how many make a sample.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The dataset, or one split of it: a folder, or a file://, s3://, gs:// or az:// URI
    uri: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let inspection = lockstep_datasets::inspect(&args.uri)?;
    context.output.result(&inspection, || {
        let mut text = super::splits(&inspection.splits);
        for split in &inspection.splits {
            let tokenizer = split.tokenizer.as_ref().map(|tokenizer| format!("tokens by {tokenizer}"));
            for note in split.source.iter().chain(&tokenizer) {
                let name = if split.split.is_empty() { "." } else { &split.split };
                text += &format!("\n{}", plain_line(&format!("{name}: {note}")));
            }
        }
        text
    })?;
    Ok(Exit::Done)
}
