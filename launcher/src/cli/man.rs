use std::path::PathBuf;

use anyhow::Context as _;

use crate::{Context, Exit};

/// Print the manual page, or write one per command
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep man --dir ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Write all pages into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    match &args.dir {
        Some(dir) => {
            let fails = || format!("can't write manual pages into {}", dir.display());
            std::fs::create_dir_all(dir).with_context(fails)?;
            clap_mangen::generate_to(super::command(), dir).with_context(fails)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(super::command()).render(&mut page)?;
            context.output.text(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Done)
}
