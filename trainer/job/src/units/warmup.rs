use std::{fmt, str::FromStr};

use super::{UnitError, interval::count, split_unit, text_unit};

/// How long the learning rate rises from zero: a share of all steps, `5%`, or `100 steps`. `0%` is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// This many steps.
    Steps(u64),
    /// This share of all steps, in percent from 0 to 100.
    Percent(f64),
}

impl Warmup {
    /// No warmup.
    pub const NONE: Self = Self::Percent(0.0);

    /// The warmup's length in steps, out of `total` steps.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Percent(percent) => (total as f64 * percent / 100.0).round() as u64,
        }
    }
}

impl FromStr for Warmup {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if let Some((steps, _)) = count(text, &["step"]) {
            return Ok(Self::Steps(steps));
        }
        let (number, unit) = split_unit(text);
        let percent = number.parse().ok().filter(|p| unit == "%" && (0.0..=100.0).contains(p));
        percent.map(Self::Percent).ok_or_else(|| {
            UnitError::new(text, "a share or a number of steps", "write for example `5%` or `100 steps`")
        })
    }
}

impl fmt::Display for Warmup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(n) => write!(f, "{n} steps"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

text_unit!(Warmup, "warmup", ["5%", "100 steps"]);
