//! What storage is tested with; never part of a normal build.
//!
//! [`conformance::run`] holds an implementation to the contract of [`lockstep_storage::Storage`]. [`S3Server`] is an S3
//! server in this process, on a loopback port, that can be told to fail in the ways that real ones do. [`Counting`] counts what
//! is asked of a store.
// Test code in the shape of a library: a failed expectation is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod conformance;

mod backend;
mod counting;
mod faults;
mod server;

pub use counting::Counting;
pub use faults::{Call, Fault, Faults};
pub use server::S3Server;
