//! Bytes that nobody meant, from members, leaders and workers, who hold the run's key and may still be of another version.
//!
//! Each target starts from `tests/corpus`; how long it goes on is in `lockstep-fuzzing`.

#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

mod kv;
mod machine;
mod support;
mod wire;
