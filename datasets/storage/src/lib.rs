//! Object storage: one trait with a written contract, on memory, local files and S3.
//!
//! Start with [`open`]; what every implementation promises is written at [`Storage`]. The conformance suite that holds
//! them to it, and an S3 server with faults, are in the crate `lockstep-storage-testing`.

mod error;
mod file;
mod limits;
mod local;
mod memory;
mod open;
mod path;
mod s3;
mod settle;
mod storage;

pub use error::{Error, Result};
pub use file::open_file;
pub use limits::Limits;
pub use open::{Options, open, open_with};
pub use storage::{Created, Meta, RECORD_BYTES, Storage};
