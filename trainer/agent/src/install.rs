//! Brings the agent into a pod whose image is somebody else's: an image of ours has no shell to copy with.

use anyhow::Context;
use std::path::Path;

/// Name of the file with the certificates of those whom the agent trusts, beside it.
pub const CERTIFICATES: &str = "ca-certificates.crt";

/// Copies this program, which is linked statically for that purpose, and the certificates of its image into `folder`:
/// another image may have none.
///
/// # Errors
/// Where one of them can't be read, or the folder can't be written to.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("can't find this program's own file")?;
    copy(&own, &folder.join("lockstep-agent"))?;
    copy(&Path::new("/etc/ssl/certs").join(CERTIFICATES), &folder.join(CERTIFICATES))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("can't copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
