use std::{fmt, str::FromStr};

use super::{Span, UnitError, interval::count, text_unit};

/// How often by steps or by the clock: `200 steps` or `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cadence {
    /// Each so many optimizer steps.
    Steps(u64),
    /// Each time that so much time has passed.
    Time(Span),
}

impl FromStr for Cadence {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if let Some((steps, _)) = count(text, &["step"]) {
            return Ok(Self::Steps(steps));
        }
        let positive = |span: &Span| !span.duration().is_zero();
        text.parse().ok().filter(positive).map(Self::Time).ok_or_else(|| {
            UnitError::new(
                text,
                "a number of steps or a duration",
                "write for example `200 steps` or `5m`, above zero",
            )
        })
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(n) => write!(f, "{n} steps"),
            Self::Time(span) => write!(f, "{span}"),
        }
    }
}

text_unit!(Cadence, "cadence", ["200 steps", "5m"]);
