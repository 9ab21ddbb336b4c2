//! The worker's end of the link to its agent: a thread of its own that heartbeats whatever the training thread does.

mod client;
mod outbox;
mod store;

pub(crate) use client::Link;
pub use outbox::Outbox;
