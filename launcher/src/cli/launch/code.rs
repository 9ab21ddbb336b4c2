//! The folder that a launch brings along.

use crate::{Failure, keys};
use lockstep_job::{ByteSize, Code, JobSpec};
use lockstep_run::RunDir;
use lockstep_run::code::{self, Packed};
use std::path::Path;

/// Packs the folder, and says in the job which one it is.
///
/// # Errors
/// Where it can't be packed.
pub(super) fn pack(folder: &Path, job: &mut JobSpec) -> anyhow::Result<Packed> {
    let packed = code::pack(folder).map_err(|error| {
        Failure::usage(format!("can't bring {} along: {error}", folder.display()))
            .note("leave out", "what the job doesn't need: name it in .lockstepignore, as in a .gitignore")
    })?;
    job.code = Some(Code { digest: packed.digest.clone(), size: ByteSize::new(packed.num_bytes) });
    Ok(packed)
}

/// Stores it where the agents find it.
///
/// # Errors
/// Where this machine can't write to the run's storage.
pub(super) async fn bring(packed: &Packed, run_dir: &str) -> anyhow::Result<()> {
    let stored = match RunDir::open(run_dir) {
        Ok(dir) => code::bring(&dir, packed).await,
        Err(error) => Err(error),
    };
    stored.map_err(|error| {
        Failure::new(format!("can't store the code of this launch: {error}"))
            .note("fix", keys::how_to_give(run_dir))
            .note("or", "build the code into the image, and leave --sync out")
            .into()
    })
}
