//! What the README, the book and every other page promise: links lead somewhere, files that are named are there, job files
//! are valid, and commands do what a page says. CONTRIBUTING.md says how a page marks its blocks.

#![allow(clippy::unwrap_used)] // a panic is this test's verdict

mod blocks;
mod commands;
mod jobs;
mod links;
mod messages;
mod page;
