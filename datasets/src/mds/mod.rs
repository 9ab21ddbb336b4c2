//! MosaicML's shard format (MDS, version 2): index, shards, encodings, hashes, and a writer.

mod compression;
mod encoding;
mod flaw;
mod hash;
mod index;
mod layout;
mod sample;
mod shard;
mod stored;
mod target;
mod value;
mod writer;

pub use compression::Compression;
pub use encoding::{Dtype, Encoding, ImageKind};
pub use flaw::Flaw;
pub(crate) use flaw::{take, take_u32};
pub use hash::HashAlgorithm;
pub(crate) use hash::check as check_hashes;
pub use index::{ColumnSpec, Range};
pub(crate) use index::{FileInfo, INDEX, Index, Notes, ShardFormat, ShardInfo};
pub(crate) use layout::Layout;
pub(crate) use sample::decodable;
pub use sample::parse_sample;
pub(crate) use shard::Shard;
pub use shard::parse_shard;
pub(crate) use stored::Stored;
pub(crate) use target::Target;
pub use value::Value;
pub use writer::{Writer, WriterOptions};
