//! Whole-system tests: the built binaries as a user runs them, on folders of their own, with every wait bounded.

mod launch;
mod process;
mod workspace;

pub use launch::{Finished, Launched, Output};
pub use process::{Marker, wait_for};
pub use workspace::{Workspace, binary, repository};
