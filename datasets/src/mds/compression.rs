use std::{
    fmt,
    io::{self, Read, Write},
    str::FromStr,
};

use flate2::{read::MultiGzDecoder, write::GzEncoder};

use crate::mds::Flaw;

/// No data worth training on is packed better; zeros are, so what stays below a few shards' size is unpacked anyway.
const MOST_RATIO: u64 = 1000;
const ALWAYS_UNPACKED: u64 = 256 << 20;

/// How a shard's file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// One zstd frame; the level matters to the writer only.
    Zstd(i32),
    /// gzip.
    Gzip,
}

impl Compression {
    /// The end of a compressed shard's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Zstd(_) => "zstd",
            Self::Gzip => "gz",
        }
    }

    pub(crate) fn compress(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(level) => zstd::bulk::compress(data, level),
            Self::Gzip => {
                let mut zip = GzEncoder::new(Vec::new(), flate2::Compression::default());
                zip.write_all(data)?;
                zip.finish()
            }
        }
    }

    /// Decompresses to exactly `bytes`; more is refused before it is held, and so is a size that nothing but a bomb has.
    pub(crate) fn decompress(self, data: &[u8], bytes: u64) -> Result<Vec<u8>, Flaw> {
        let most = ALWAYS_UNPACKED.saturating_add((data.len() as u64).saturating_mul(MOST_RATIO));
        if bytes > most {
            let expected = format!("at most {most} bytes from {} bytes of {}", data.len(), self.extension());
            return Err(Flaw::new(
                0,
                expected,
                format_args!("{bytes}, as the index says; write smaller shards"),
            ));
        }
        let broken = |error: io::Error| Flaw::new(0, format_args!("valid {}", self.extension()), error);
        let mut raw = Vec::new();
        let limit = bytes.saturating_add(1);
        let read = match self {
            Self::Zstd(_) => zstd::Decoder::new(data).and_then(|zip| zip.take(limit).read_to_end(&mut raw)),
            Self::Gzip => MultiGzDecoder::new(data).take(limit).read_to_end(&mut raw),
        };
        read.map_err(broken)?;
        if raw.len() as u64 != bytes {
            let got = if raw.len() as u64 > bytes { "more".to_owned() } else { raw.len().to_string() };
            return Err(Flaw::new(0, format_args!("{bytes} bytes after decompression"), got));
        }
        Ok(raw)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Gzip => f.write_str("gz"),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    /// `zstd`, `zstd:level`, `gz` or `gz:level`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let level: Option<i32> =
            level.map(|level| level.parse().map_err(|_| format!("bad level in {text:?}"))).transpose()?;
        match name {
            "zstd" => Ok(Self::Zstd(level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))),
            "gz" => Ok(Self::Gzip),
            _ => Err(format!("unknown compression {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_only_a_bomb_has_is_refused_before_anything_is_unpacked() {
        for compression in [Compression::Zstd(1), Compression::Gzip] {
            let packed = compression.compress(&[7; 1000]).unwrap();
            assert_eq!(compression.decompress(&packed, 1000).unwrap(), [7; 1000]);
            let flaw = compression.decompress(&packed, 4_200_000_000).unwrap_err();
            assert!(flaw.got.contains("4200000000, as the index says"), "{flaw:?}");
        }
    }
}
