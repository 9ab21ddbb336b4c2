//! MosaicML's shard format (MDS, version 2): index, shards, encodings, hashes, and a writer.

mod compression;
mod encoding;
mod flaw;
mod hash;
mod index;
mod sample;
mod shard;
mod stored;
mod value;
mod writer;

pub use compression::Compression;
pub use encoding::{Dtype, Encoding, ImageKind};
pub use flaw::Flaw;
pub(crate) use flaw::{take, take_u32};
pub use hash::HashAlgorithm;
pub(crate) use hash::check as check_hashes;
pub use index::{ColumnSpec, Range};
pub(crate) use index::{FileInfo, INDEX, Index, Notes, ShardInfo};
pub(crate) use sample::decodable;
pub use sample::parse_sample;
pub use shard::parse_shard;
pub(crate) use shard::{Shard, check_header};
pub(crate) use stored::Stored;
pub use value::Value;
pub use writer::{Writer, WriterOptions};
