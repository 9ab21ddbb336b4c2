use std::{fmt, str::FromStr, time::Duration};

use super::{UnitError, text_unit};

/// A length of time: `200ms`, `30s`, `5m`, `1h 30m`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// This many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// This many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The span as the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl std::ops::Mul<u32> for Span {
    type Output = Self;

    fn mul(self, by: u32) -> Self {
        Self(self.0.saturating_mul(by))
    }
}

/// Longer than any job waits; what is added to a time and to another span stays one.
const MOST: Duration = Duration::from_secs(1000 * 31_557_600);

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = |fix: &str| UnitError::new(text, "a duration", fix);
        match sum_of_terms(text) {
            Some(span) if span <= MOST => Ok(Self(span)),
            Some(_) => Err(wrong("the most is 1000 years")),
            None => {
                Err(wrong("write whole numbers with the units ms, s, m, h, d, for example 30s or 1h 30m"))
            }
        }
    }
}

/// Reads each number with its unit alone: humantime panics where what it adds up passes 2^64 seconds by the last carry.
fn sum_of_terms(text: &str) -> Option<Duration> {
    let (mut sum, mut rest) = (Duration::ZERO, text);
    loop {
        let unit = rest.find(char::is_alphabetic).unwrap_or(rest.len());
        let end = rest[unit..].find(|c: char| !c.is_alphabetic()).map_or(rest.len(), |length| unit + length);
        let (term, more) = rest.split_at(end);
        sum = sum.saturating_add(humantime::parse_duration(term).ok()?);
        if more.trim_start().is_empty() {
            return Some(sum);
        }
        rest = more;
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.0), f)
    }
}

text_unit!(Span, "duration", ["200ms", "30s", "5m", "1h 30m"]);
