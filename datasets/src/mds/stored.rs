use std::borrow::Cow;

use crate::mds::{Compression, FileInfo, ShardInfo};

/// Ends of the names that tools give to files which they pack in place, where the index knows nothing of it.
const PACKED: [(&str, Compression); 3] =
    [("zstd", Compression::Zstd(0)), ("zst", Compression::Zstd(0)), ("gz", Compression::Gzip)];

/// One file that may hold a shard.
#[derive(Debug, Clone)]
pub(crate) struct Stored<'a> {
    pub basename: Cow<'a, str>,
    pub compression: Option<Compression>,
    /// What the index says of it.
    pub info: Option<&'a FileInfo>,
    /// No honest file is larger.
    pub most: u64,
}

impl ShardInfo {
    /// The files that may hold this shard: what the index names, and then the same in another form. Tools unpack and
    /// pack in place without a word in the index; what counts is the raw content, which the index describes anyway.
    pub(crate) fn stored(&self) -> Vec<Stored<'_>> {
        let raw = Stored {
            basename: (&self.raw_data.basename).into(),
            compression: None,
            info: Some(&self.raw_data),
            most: self.raw_data.bytes,
        };
        if let Some(zip) = &self.zip_data {
            let zip = Stored {
                basename: (&zip.basename).into(),
                compression: self.compression(),
                info: Some(zip),
                most: zip.bytes,
            };
            return vec![zip, raw];
        }
        let packed = PACKED.map(|(end, compression)| Stored {
            basename: format!("{}.{end}", self.raw_data.basename).into(),
            compression: Some(compression),
            info: None,
            // What can't be compressed grows by a little.
            most: self.raw_data.bytes + self.raw_data.bytes / 64 + (64 << 10),
        });
        std::iter::once(raw).chain(packed).collect()
    }

    /// Whether the index says what the raw content must be, and not only how long.
    pub(crate) fn is_hashed(&self) -> bool {
        !self.raw_data.hashes.is_empty()
    }
}
