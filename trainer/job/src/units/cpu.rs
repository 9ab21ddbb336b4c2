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

/// More thousandths of a core than any machine has.
const MOST: f64 = 1e9;
/// Decimal fractions have no exact binary ones: 1.005 cores are 1004.9999999999999 thousandths.
const ROUNDING: f64 = 1e-6;

impl FromStr for Cpu {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.parse::<f64>().ok(),
            None => text.parse::<f64>().ok().map(|cores| cores * 1000.0),
        };
        let is_whole = |millis: &f64| (millis - millis.round()).abs() < ROUNDING;
        let whole = millis.filter(|millis| is_whole(millis) && (1.0..MOST).contains(&millis.round()));
        whole.map(|millis| Self(millis.round() as u64)).ok_or_else(|| {
            UnitError::new(
                text,
                "a number of cores",
                "write cores, or thousandths of a core with an m, for example 4 or 500m",
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
