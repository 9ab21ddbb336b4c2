//! The ranks' traces in one file, which Perfetto and Chrome's tracing page open. Pure.

mod align;
mod chrome;

pub(crate) use align::{Shifts, shifts};
pub(crate) use chrome::chrome;

#[cfg(test)]
mod samples;
