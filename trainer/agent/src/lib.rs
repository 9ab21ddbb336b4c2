//! The node's agent: supervision, rendezvous, membership, recovery. It never links libtorch.
//!
//! [`machine`] decides, [`driver`] acts on what it says. [`net`] connects agents, [`workers`] runs processes, [`report`]
//! tells users, `gpus` asks what GPUs do, and [`kv`] is the store behind c10d. [`checkup`] is for the doctor. Read [`machine`]
//! first.

pub mod args;
pub mod checkup;
pub mod driver;
mod gpus;
mod health;
pub mod install;
pub mod kv;
pub mod machine;
pub mod net;
pub mod report;
pub mod tether;
pub mod wire;
pub mod workers;
