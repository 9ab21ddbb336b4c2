//! What a split's bytes are read as.

use std::num::NonZeroU32;

use crate::{
    Error, Result,
    mds::{ColumnSpec, Encoding, ShardFormat},
    tokens::Cut,
};

/// How the bytes of shards become samples.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    Mds,
    Tokens(Cut),
}

/// What a caller takes a split for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadAs {
    /// Shards that know their samples.
    Mds,
    /// Token files, cut into windows.
    Windows(NonZeroU32),
    /// Whatever it is; each token is a sample.
    Any,
}

impl ReadAs {
    /// How files of a format are read.
    pub(crate) fn reading(self, format: ShardFormat, file: &str) -> Result<Reading> {
        let other =
            |found, wanted, fix| Err(Error::OtherFormat { file: file.to_owned(), found, wanted, fix });
        match (self, format) {
            (Self::Mds | Self::Any, ShardFormat::Mds) => Ok(Reading::Mds),
            (Self::Any, ShardFormat::Tokens) => Ok(Reading::Tokens(Cut::Tokens)),
            (Self::Windows(window), ShardFormat::Tokens) => Ok(Reading::Tokens(Cut::Windows(window))),
            (Self::Mds, ShardFormat::Tokens) => {
                other("tokens", "mds", "set data.format to tokens, and data.window")
            }
            (Self::Windows(_), ShardFormat::Mds) => {
                other("mds", "tokens", "remove data.format and data.window")
            }
        }
    }
}

impl Reading {
    /// Makes samples of tokens: `samples` holds the tokens of each file, and then its samples.
    ///
    /// # Errors
    /// [`Error::LongWindow`] where no file has one.
    pub(crate) fn cut(self, uri: &str, samples: &mut [u64], columns: &mut [ColumnSpec]) -> Result<()> {
        let Self::Tokens(cut) = self else { return Ok(()) };
        let longest = samples.iter().copied().max().unwrap_or(0);
        let too_long = || Error::LongWindow { uri: uri.to_owned(), needed: cut.len(), longest };
        for column in columns {
            let Encoding::Scalar(dtype) = column.encoding else { continue };
            column.encoding = cut.encoding(dtype).ok_or_else(too_long)?;
        }
        samples.iter_mut().for_each(|samples| *samples = cut.samples(*samples));
        if samples.iter().any(|samples| *samples > 0) { Ok(()) } else { Err(too_long()) }
    }
}
