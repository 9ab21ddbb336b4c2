use clap_complete::{Shell, generate};

use crate::{Context, Exit};

/// Print a script that completes lockstep's commands and options in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "For example, in bash:  source <(lockstep completions bash)")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::command(), "lockstep", &mut script);
    context.output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
