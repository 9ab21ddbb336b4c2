//! Brings the agent into a pod whose image is somebody else's: an image of ours has no shell to copy with.

use anyhow::Context;
use std::path::Path;

/// Name of the file with the certificates of those whom the agent trusts, beside it.
pub const CERTIFICATES: &str = "ca-certificates.crt";

/// Name of the program that watches GPUs, beside this one where an image has it.
pub const GPU_PROGRAM: &str = "lockstep-gpu";

/// Copies this program, which is linked statically for that purpose, and the certificates of its image into `folder`:
/// another image may have none. An image for GPUs also has what watches them, which runs where the C library is like its own.
///
/// # Errors
/// Where one of them can't be read, or the folder can't be written to.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("can't find this program's own file")?;
    copy(&own, &folder.join("lockstep-agent"))?;
    let gpus = own.with_file_name(GPU_PROGRAM);
    if gpus.exists() {
        copy(&gpus, &folder.join(GPU_PROGRAM))?;
    }
    copy(&Path::new("/etc/ssl/certs").join(CERTIFICATES), &folder.join(CERTIFICATES))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("can't copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
