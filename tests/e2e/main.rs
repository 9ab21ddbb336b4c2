//! The three binaries as a user runs them: one program for all of these tests, so that what one waits for another uses.

#![allow(clippy::unwrap_used)] // a panic is this test's verdict

mod bad_input;
mod buckets;
mod chaos;
mod command;
mod data;
mod examples;
mod family;
mod gpus;
mod hints;
mod hostile;
mod local;
mod machine;
mod neighbours;
mod output;
mod pid_one;
mod records;
mod recovery;

mod secrets;
mod sizes;
mod stopping;
mod torchrun;
mod tracing;
mod warm_start;
