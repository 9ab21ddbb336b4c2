use crate::{Context, Exit};

/// Print the JSON schema of a job file, for editors
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, context: &Context) -> anyhow::Result<Exit> {
    context.output.text(&serde_json::to_string_pretty(&lockstep_job::schema())?)?;
    Ok(Exit::Done)
}
