//! The crate from outside, one file for each behaviour. One binary, since linking takes longer than running.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cache;
mod columns;
mod damage;
mod digits;
mod foreign;
mod fuzz;
mod identity;
mod images;
mod mds;
mod mosaic;
mod order;
mod pack;
mod pictures;
mod seal;
mod shakespeare;
mod support;
mod text;
mod tokens;
