use std::{fmt, str::FromStr};

use super::UnitError;

/// Processor cores: `4`, `0.5` or, in thousandths, `500m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u64);

impl Cpu {
    /// This many thousandths of a core.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The amount in thousandths of a core.
    pub const fn millis(self) -> u64 {
        self.0
    }
}

/// More cores than any machine has.
const MOST: f64 = 1e6;

impl FromStr for Cpu {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.parse().ok(),
            None => text.parse::<f64>().ok().filter(|cores| *cores < MOST).map(|cores| cores * 1000.0),
        };
        let whole = millis.filter(|millis| *millis >= 1.0 && millis.fract() == 0.0);
        whole.map(|millis| Self(millis as u64)).ok_or_else(|| {
            UnitError::new(
                text,
                "a number of cores",
                "write cores or thousandths of one, for example 4 or 500m",
            )
        })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

super::text_unit!(Cpu, "cpu", ["4", "500m"]);
