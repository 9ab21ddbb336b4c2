//! What storage is tested with; never part of a normal build.
//!
//! [`conformance::run`] holds an implementation to the contract of [`lockstep_storage::Storage`]. [`S3Server`] and
//! [`GcsServer`] are servers in this process that can be told to fail in the ways that real ones do. [`Azurite`] and
//! [`Moto`] are other people's servers as processes. [`Counting`] counts what is asked of a store.
// Test code in the shape of a library: a failed expectation is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod conformance;

mod azurite;
mod counting;
mod faults;
mod gcs;
mod moto;
mod process;
mod s3;
mod server;

pub use azurite::Azurite;
pub use counting::Counting;
pub use faults::{Call, Fault, Faults};
pub use gcs::{Access, GcsServer};
pub use moto::Moto;
pub use s3::S3Server;

/// The settings that variables of a process stand for, with the default deadlines.
fn options(env: Vec<(&'static str, String)>) -> lockstep_storage::Options {
    let config = env.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    lockstep_storage::Options { config, ..lockstep_storage::Options::default() }
}
