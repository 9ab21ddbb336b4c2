//! The node's cache of raw shards: fetched whole by one process at a time, verified whenever they are opened.

mod budget;
mod download;
mod folder;
mod lease;
mod lock;
mod shards;
mod spare;

pub(crate) use download::{download, verify_raw};
pub use folder::CacheOptions;
pub(crate) use shards::Cache;
pub(crate) use spare::Taken;
