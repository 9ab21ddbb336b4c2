//! The checkpoint protocol: files first, then one conditional create that makes them a checkpoint.
//!
//! A checkpoint exists if and only if its commit record exists, and nothing is used before its hash is right.

mod fetch;
mod hash;
mod lineage;
mod retention;
mod save;
mod sweep;
mod warm;
mod weights;

pub use fetch::{Loaded, Passed, Verdict};
pub use hash::{PART_BYTES, hash_file, state_hash};
pub use lineage::{Lineage, Next, no_checkpoint};
pub use retention::expired;
pub use save::Draft;
pub use sweep::is_leftover;

/// The file of parameters and buffers, and of nothing else: the same bytes for the same model.
pub const MODEL: &str = "model.safetensors";

/// The file of the resolved job that the checkpoint was trained by.
pub const JOB: &str = "job.yaml";
