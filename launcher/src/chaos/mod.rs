//! Faults on purpose: which ones, and what came of them.

mod plan;
mod verdict;

pub(crate) use plan::{Choice, Plan};
pub(crate) use verdict::{Fault, Percentiles, Stage, stage};
