use clap_complete::env::Shells;

use crate::{Context, Exit};

/// Print a script with which a shell completes commands, options and names of runs
#[derive(Debug, clap::Args)]
#[command(after_help = "For example, in bash:  source <(lockstep completions bash)")]
pub(super) struct Args {
    /// The shell
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Shells::builtins().names()))]
    shell: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&args.shell) else {
        anyhow::bail!("no completions for {}", args.shell)
    };
    let mut script = Vec::new();
    shell.write_registration("COMPLETE", "lockstep", "lockstep", "lockstep", &mut script)?;
    context.output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
