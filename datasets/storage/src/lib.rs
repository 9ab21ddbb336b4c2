//! Object storage: one trait with a written contract, on local files, memory, S3, Google Cloud Storage and Azure.
//!
//! Start with [`open`]; what every implementation promises is written at [`Storage`], and [`conformance`] holds a store to
//! it. The servers that tests run it against are in the crate `lockstep-storage-testing`.

mod bucket;
mod clouds;
pub mod conformance;
mod error;
mod file;
mod limits;
mod local;
mod open;
mod path;
mod scheme;
mod settings;
mod settle;
mod storage;

pub use error::{Error, Result};
pub use file::open_file;
pub use limits::Limits;
pub use open::{Options, open, open_with};
pub use scheme::Scheme;
pub use storage::{Created, Meta, RECORD_BYTES, Storage};
