use std::{collections::BTreeMap, fmt, str::FromStr};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use xxhash_rust::{xxh3, xxh32::xxh32, xxh64::xxh64};

use crate::{Error, Result};

/// Hashes that an index may hold, by MDS's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum HashAlgorithm {
    Xxh32,
    Xxh64,
    Xxh3_64,
    Xxh3_128,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl HashAlgorithm {
    /// The hash of `data` in lower-case hex.
    pub fn hash(self, data: &[u8]) -> String {
        match self {
            Self::Xxh32 => format!("{:08x}", xxh32(data, 0)),
            Self::Xxh64 => format!("{:016x}", xxh64(data, 0)),
            Self::Xxh3_64 => format!("{:016x}", xxh3::xxh3_64(data)),
            Self::Xxh3_128 => format!("{:032x}", xxh3::xxh3_128(data)),
            Self::Md5 => hex::encode(Md5::digest(data)),
            Self::Sha1 => hex::encode(Sha1::digest(data)),
            Self::Sha256 => hex::encode(Sha256::digest(data)),
            Self::Sha512 => hex::encode(Sha512::digest(data)),
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xxh32 => "xxh32",
            Self::Xxh64 => "xxh64",
            Self::Xxh3_64 => "xxh3_64",
            Self::Xxh3_128 => "xxh3_128",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

impl FromStr for HashAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "xxh32" => Self::Xxh32,
            "xxh64" => Self::Xxh64,
            "xxh3_64" => Self::Xxh3_64,
            "xxh3_128" | "xxh128" => Self::Xxh3_128,
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha512" => Self::Sha512,
            _ => {
                return Err(format!(
                    "unknown hash {name:?}; write xxh32, xxh64, xxh3_64, xxh3_128, md5, sha1, sha256 or sha512"
                ));
            }
        })
    }
}

/// Checks every hash that the index names; the index itself was checked to name known ones only.
pub(crate) fn check(file: &str, data: &[u8], hashes: &BTreeMap<String, String>) -> Result<()> {
    for (algorithm, expected) in hashes {
        let Ok(known) = algorithm.parse::<HashAlgorithm>() else { continue };
        let got = known.hash(data);
        if !got.eq_ignore_ascii_case(expected) {
            return Err(Error::Hash {
                file: file.to_owned(),
                algorithm: algorithm.clone(),
                expected: expected.clone(),
                got,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Python's hashlib and xxhash for `b"lockstep"`.
    #[test]
    fn hashes_are_those_of_python() {
        for (name, expected) in GOLDEN {
            assert_eq!(name.parse::<HashAlgorithm>().unwrap().hash(b"lockstep"), expected, "{name}");
        }
    }

    const GOLDEN: [(&str, &str); 8] = [
        ("xxh32", "9234112e"),
        ("xxh64", "82a52a01b2a31235"),
        ("xxh3_64", "2f270043200950ec"),
        ("xxh128", "b4ead11c934f0a1e75345b2b871d8c38"),
        ("md5", "85126150fa782d7c4d80b06052832d21"),
        ("sha1", "13bb78579839a2c69c9ba1ccaeacaeae8e33f809"),
        ("sha256", "b3e2087f587654ac1c93325104785b14b1b4033f66016a8d56b67abcc62e0b3d"),
        (
            "sha512",
            "13f2788a7ff3796bd80b367fbea6bb6b6ab4a38e3df16f021157833cd739bb469eb4fffcb4b317fa99ec6efe44696ce93f0b6bcc6ae262ca95dafc7a27eaab42",
        ),
    ];
}
