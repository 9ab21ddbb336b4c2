//! The command line. A new command is a file with `Args` and `run`, and its name in two lines here.

/// Commands by name, each in the module that holds its `Args` and `run`.
macro_rules! commands {
    ($($name:ident => $module:ident),+ $(,)?) => {
        #[derive(Debug, clap::Subcommand)]
        enum Command {
            $($name($module::Args)),+
        }

        impl Command {
            fn run(&self, context: &crate::Context) -> anyhow::Result<crate::Exit> {
                match self {
                    $(Self::$name(args) => $module::run(args, context)),+
                }
            }
        }
    };
}

mod cancel;
mod chaos;
mod checkpoint;
mod completions;
mod data;
mod delete;
mod doctor;
mod events;
mod gc;
mod launch;
mod live;
mod logs;
mod man;
mod metrics;
mod new;
mod render;
mod resume;
mod sample;
mod scale;
mod schema;
mod status;
mod trace;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};
use clap_complete::CompleteEnv;

use crate::{Context, Exit, Format, Output, error, guard};

/// Train one model on many machines, or on this one, and carry on after any loss.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, arg_required_else_help = true)]
struct Cli {
    /// Print results for people (text, wide) or for scripts (json, yaml)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Everywhere"
    )]
    output: Format,

    #[command(subcommand)]
    command: Command,
}

commands! {
    Launch => launch,
    Status => status,
    Logs => logs,
    Events => events,
    Metrics => metrics,
    Trace => trace,
    Chaos => chaos,
    Sample => sample,
    Cancel => cancel,
    Resume => resume,
    Scale => scale,
    Delete => delete,
    Checkpoint => checkpoint,
    New => new,
    Validate => validate,
    Render => render,
    Data => data,
    Gc => gc,
    Doctor => doctor,
    Schema => schema,
    Completions => completions,
    Man => man,
}

/// Does what the process's arguments ask for.
pub fn main() -> ExitCode {
    // A shell that completes a word calls this very program, and it goes no further.
    CompleteEnv::with_factory(command).complete();
    guard(|| match Cli::try_parse() {
        Ok(cli) => {
            let context = Context { output: Output { format: cli.output } };
            cli.command.run(&context).unwrap_or_else(|error| error::report(&error))
        }
        Err(answer) => {
            // The terminal is gone if this fails; the exit code still tells.
            let _ = answer.print();
            match answer.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            }
        }
    })
    .into()
}

/// All commands and options, from which help, completions and man pages are made.
pub fn command() -> clap::Command {
    Cli::command()
}
