//! Streaming datasets: sharded, streamed from object storage, in an exact and elastic order, every byte verified.
//!
//! A [`Dataset`] is a split of MDS shards or of token files behind any `lockstep-storage` URI. An [`Order`] says which sample each slot of
//! each step holds, by pure functions of seed, epoch and dataset. A [`Loader`] turns "the batch of this step for this
//! rank" into typed columns, fetched, verified and decoded ahead of the training thread, which knows nothing of files.
//! [`pack_csv`], [`pack_text`], [`inspect`], [`verify`] and [`seal`] are the tools behind `lockstep data`.
//!
//! All calls here block; none needs a runtime, and any may be made inside one.

mod batch;
mod blocking;
mod cache;
mod check;
mod dataset;
mod error;
mod identity;
mod images;
mod loader;
mod mds;
mod order;
mod pack;
mod reading;
mod recheck;
mod sampling;
mod seal;
mod tokenizer;
mod tokens;

pub use batch::{Batch, Column, Values};
pub use cache::CacheOptions;
pub use check::{Inspection, Problem, Recorded, SplitSummary, Verification, inspect, verify};
pub use dataset::Dataset;
pub use error::{Error, Result};
pub use identity::{Contents, Identity};
pub use images::{BadSamples, Colours, Cut, ImageOptions, RandomCut};
pub use loader::{Columns, Loader, LoaderOptions};
pub use mds::{
    ColumnSpec, Compression, Dtype, Encoding, Flaw, HashAlgorithm, ImageKind, Range, Value, Writer,
    WriterOptions, parse_sample, parse_shard,
};
pub use order::{EpochOrder, Order, OrderOptions, Shuffle, Tail};
pub use pack::{
    LabelColumn, PackOptions, PackReport, PackTextOptions, PackedSplit, PictureOptions, Splits,
    holds_pictures, pack_csv, pack_pictures, pack_text,
};
pub use sampling::Replica;
pub use seal::{Seal, SealedSplit, seal};
pub use tokenizer::{Decoder, FromFile, Tokenizer};
pub use tokens::{TokenFile, parse_token_header};
