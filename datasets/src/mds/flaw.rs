use std::fmt::Display;

/// Where bytes break their format, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Byte offset, from the beginning of what was parsed.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub got: String,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// The row in the shard, where it is about one.
    pub row: Option<u64>,
}

impl Flaw {
    pub(crate) fn new(offset: usize, expected: impl Display, got: impl Display) -> Self {
        Self {
            offset: offset as u64,
            expected: expected.to_string(),
            got: got.to_string(),
            column: None,
            row: None,
        }
    }

    pub(crate) fn in_column(self, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..self }
    }

    pub(crate) fn in_row(self, row: usize) -> Self {
        Self { row: Some(row as u64), ..self }
    }

    pub(crate) fn moved(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base as u64);
        self
    }
}

/// The next `n` bytes at `at`, which moves on.
pub(crate) fn take<'a>(data: &'a [u8], at: &mut usize, n: usize, what: &str) -> Result<&'a [u8], Flaw> {
    let rest = data.get(*at..).unwrap_or_default();
    let taken = rest.get(..n).ok_or_else(|| {
        Flaw::new(*at, format_args!("{n} bytes of {what}"), format_args!("{} bytes", rest.len()))
    })?;
    *at += n;
    Ok(taken)
}

/// The next little-endian `u32`.
pub(crate) fn take_u32(data: &[u8], at: &mut usize, what: &str) -> Result<u32, Flaw> {
    let bytes = take(data, at, 4, what)?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}
