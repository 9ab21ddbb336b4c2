//! Bytes that nobody meant, for the tests of parsers.
//!
//! A target starts from the inputs of a corpus and changes them. By default it does so as often and in the same way each
//! time; with `LOCKSTEP_FUZZ_SECONDS` it goes on for that long, and says how many inputs it tried. An input that breaks
//! something is made small, saved, and belongs into the corpus.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod corpus;
mod edit;
mod run;
mod text;

pub use corpus::{corpus, current};
pub use run::{fuzz, fuzz_text};
