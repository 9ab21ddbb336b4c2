use std::num::NonZeroU32;

use crate::{
    mds::{Dtype, Encoding, Layout},
    tokens::TokenFile,
};

/// How the tokens of a file become samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each token is one: for who counts and checks them.
    Tokens,
    /// Each sample predicts so many tokens: it holds them, and the one before. The next sample begins with its last.
    Windows(NonZeroU32),
}

impl Cut {
    /// Tokens from the beginning of one sample to that of the next.
    fn stride(self) -> u64 {
        match self {
            Self::Tokens => 1,
            Self::Windows(window) => window.get().into(),
        }
    }

    /// Tokens of a sample.
    pub(crate) fn len(self) -> u64 {
        match self {
            Self::Tokens => 1,
            Self::Windows(window) => u64::from(window.get()) + 1,
        }
    }

    /// Samples of a file; what doesn't fill one at its end is left out.
    pub(crate) fn samples(self, tokens: u64) -> u64 {
        tokens.checked_sub(self.len()).map_or(0, |rest| rest / self.stride() + 1)
    }

    /// How a sample is stored; `None` where no file could hold one.
    pub(crate) fn encoding(self, dtype: Dtype) -> Option<Encoding> {
        match self {
            Self::Tokens => Some(Encoding::Scalar(dtype)),
            Self::Windows(window) => {
                let shape = Some(vec![window.get().checked_add(1)?]);
                Some(Encoding::Array { dtype: Some(dtype), shape })
                    .filter(|array| array.fixed_bytes().is_some())
            }
        }
    }

    pub(crate) fn layout(self, file: TokenFile) -> Layout {
        let width = file.dtype.bytes() as u64;
        Layout::Even {
            begin: file.begin,
            stride: self.stride() * width,
            bytes: self.len() * width,
            rows: self.samples(file.tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_by_one_token_and_never_leave_the_file() {
        for window in 1..7_u32 {
            let cut = Cut::Windows(NonZeroU32::new(window).unwrap());
            for tokens in 0..40_u64 {
                let file = TokenFile { dtype: Dtype::U16, begin: 1024, tokens };
                let layout = cut.layout(file);
                let mut next = 1024;
                for row in 0..layout.rows() {
                    let bytes = layout.row(row).unwrap();
                    assert_eq!((bytes.start, bytes.end - bytes.start), (next, 2 * (u64::from(window) + 1)));
                    assert!(bytes.end <= file.bytes());
                    next += 2 * u64::from(window);
                }
                assert_eq!(layout.row(layout.rows()), None);
                // One more would not fit.
                assert!(next + 2 * (u64::from(window) + 1) > file.bytes(), "{window} {tokens}");
            }
        }
        assert_eq!(Cut::Tokens.samples(7), 7);
        let huge = Cut::Windows(NonZeroU32::MAX);
        assert_eq!(
            (huge.samples(u64::MAX), huge.encoding(Dtype::U16)),
            ((u64::MAX - 1) / u64::from(u32::MAX), None)
        );
    }
}
