//! Bytes that nobody meant, in each place where a run reads some: records, segments, lines, packed code, messages.
//!
//! What is read is more than not panicked at: written again it reads back as the same, and it is no larger than what it was
//! read from. Each target starts from `tests/corpus`; how long it goes on is in `lockstep-fuzzing`.

#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

mod channel;
mod code;
mod commits;
mod lines;
mod messages;
mod names;
mod records;
mod samples;
mod segments;
mod support;
