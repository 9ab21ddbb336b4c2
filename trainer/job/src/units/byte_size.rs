use std::{fmt, str::FromStr};

use super::{UnitError, split_unit, text_unit};

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// An amount of bytes: a whole number and a unit, `64MiB`, `2 GB`, or `16Gi` for 16GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = |fix: &str| UnitError::new(text, "a size", fix);
        let (number, unit) = split_unit(text);
        let number: u64 =
            number.parse().map_err(|_| wrong("write a whole number and a unit, for example 64MiB"))?;
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| {
                // `Gi` is how Kubernetes writes GiB.
                let short =
                    name.strip_suffix("iB").is_some_and(|prefix| unit.strip_suffix('i') == Some(prefix));
                short || name.eq_ignore_ascii_case(unit)
            })
            .ok_or_else(|| wrong("the units are B, KiB, MiB, GiB, TiB and KB, MB, GB, TB"))?;
        number.checked_mul(*scale).map(Self).ok_or_else(|| wrong("the most is 16777215TiB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        let (unit, scale) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

text_unit!(ByteSize, "byte-size", ["64MiB", "16GiB"]);
