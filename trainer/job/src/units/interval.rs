use std::{fmt, str::FromStr};

use super::{UnitError, split_unit, text_unit};

/// How often by progress: `200 steps` or `1 epochs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interval {
    /// Each so many optimizer steps.
    Steps(u64),
    /// Each so many passes over the training data.
    Epochs(u64),
}

impl Interval {
    /// The interval in steps, given how many steps an epoch has.
    pub fn steps(self, steps_per_epoch: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch).max(1),
        }
    }
}

/// `200 steps` as a positive number of a unit that is one of the given ones, in singular or plural.
pub(super) fn count<'u>(text: &str, units: &[&'u str]) -> Option<(u64, &'u str)> {
    let (number, unit) = split_unit(text);
    let unit = units.iter().find(|u| unit == **u || unit.strip_suffix('s') == Some(u))?;
    number.parse().ok().filter(|n| *n > 0).map(|n| (n, *unit))
}

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match count(text, &["step", "epoch"]) {
            Some((n, "step")) => Ok(Self::Steps(n)),
            Some((n, _)) => Ok(Self::Epochs(n)),
            None => Err(UnitError::new(
                text,
                "an interval",
                "write a number of steps or epochs, like `200 steps`",
            )),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(n) => write!(f, "{n} steps"),
            Self::Epochs(n) => write!(f, "{n} epochs"),
        }
    }
}

text_unit!(Interval, "interval", ["200 steps", "1 epochs"]);
