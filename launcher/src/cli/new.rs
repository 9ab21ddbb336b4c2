mod dependency;
mod files;
mod folder;
mod libtorch;
mod name;

use serde_json::json;

use crate::output::say;
use crate::{Context, Exit, environment, shell};
use dependency::Dependency;
use folder::Folder;

/// Write a crate with a model of your own, which builds and trains as it is
///
/// It holds a small network, handwritten digits to train it on, and a job file. libtorch is fetched into the cache first (544
/// MB, once) unless LIBTORCH names one. The two commands that build and train are printed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep new my-model")]
pub(super) struct Args {
    /// Name of the crate and its run, or a path to its folder, whose last part is the name
    name: String,

    /// Where lockstep-trainer comes from: a checkout of Lockstep, or the URL of its repository, with #REVISION or without
    ///
    /// By default it is what this command was built from.
    #[arg(long, value_name = "PATH|URL")]
    lockstep: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let folder = Folder::find(&args.name)?;
    let name = name::of(folder.path())?;
    let dependency = Dependency::choose(args.lockstep.as_deref(), &args.name)?;
    let libtorch = libtorch::folder()?;
    folder.fill(&files::all(&name, &dependency, &libtorch))?;

    let build = match args.name.as_str() {
        "." => "cargo build --release".to_owned(),
        path => format!("cd {} && cargo build --release", shell::quote(path)),
    };
    let commands = [build, "lockstep launch -f job.yaml --local".to_owned()];
    if !context.output.format.is_data() {
        say!("made the crate {name}, with {dependency} and libtorch from {libtorch}");
        if environment::variable("CARGO_TARGET_DIR").is_some() {
            say!(
                "CARGO_TARGET_DIR is set: unset it, or name the binary that is built there as `worker` in job.yaml"
            );
        }
        say!("build it, and train:");
    }
    let made = json!({
        "crate": folder.path(), "lockstep": dependency.to_string(), "libtorch": libtorch, "commands": commands,
    });
    context.output.result(&made, || commands.join("\n"))?;
    Ok(Exit::Done)
}
