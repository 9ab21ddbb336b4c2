use std::fmt::Display;

use crate::Error;

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

    /// As seen from the file that holds the parsed bytes at `base`, and whose first row is the sample `first` of its
    /// dataset.
    pub(crate) fn in_shard(mut self, file: &str, base: u64, first: u64) -> Error {
        let Some(row) = self.row else { return self.in_file(file, base) };
        self.offset = self.offset.saturating_add(base);
        Error::Sample { file: file.to_owned(), sample: first.saturating_add(row), flaw: Box::new(self) }
    }

    /// As seen from the file that holds the parsed bytes at `base`.
    pub(crate) fn in_file(mut self, file: &str, base: u64) -> Error {
        self.offset = self.offset.saturating_add(base);
        Error::Format { file: file.to_owned(), flaw: self }
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
