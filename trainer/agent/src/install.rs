//! Brings the agent into a pod whose image is somebody else's: an image of ours has no shell to copy with.

use crate::args::InstallArgs;
use anyhow::Context;

/// Copies this program, which is linked statically for that purpose, with its mode.
///
/// # Errors
/// Where the folder can't be written to.
pub fn run(args: &InstallArgs) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("can't find this program's own file")?;
    let copy = args.folder.join("lockstep-agent");
    std::fs::copy(&own, &copy)
        .with_context(|| format!("can't copy {} to {}", own.display(), copy.display()))?;
    Ok(())
}
