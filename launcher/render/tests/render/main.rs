//! From job files to objects: one file per concern.
#![allow(clippy::unwrap_used, reason = "where a helper panics, the test has failed")]

mod around;
mod common;
mod goldens;
mod job;
mod overlay;
mod pod;
