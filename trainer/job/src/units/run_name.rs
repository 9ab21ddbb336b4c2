use std::{fmt, ops::Deref, str::FromStr};

use super::{UnitError, text_unit};

/// A run's name. It becomes the name of a Job, a Service and, with `-<index>` added, of pods and their hosts, so it is
/// a DNS label that starts with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName(String);

/// A DNS label's length.
const LABEL: usize = 63;

impl RunName {
    /// The longest name that leaves room for `-<index>` of the last of `nodes` nodes.
    pub fn max_len(nodes: u32) -> usize {
        let digits = nodes.saturating_sub(1).checked_ilog10().unwrap_or(0) as usize + 1;
        LABEL - 1 - digits
    }
}

impl Deref for RunName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunName {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let label = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(inner)
            && !text.ends_with('-')
            && text.len() <= Self::max_len(1);
        label.then(|| Self(text.to_owned())).ok_or_else(|| {
            UnitError::new(
                text,
                "a run name",
                format!(
                    "write up to {} of a-z, 0-9 and -, starting with a letter and ending with a letter or digit",
                    Self::max_len(1)
                ),
            )
        })
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_unit!(RunName, "run-name", ["digits"]);
