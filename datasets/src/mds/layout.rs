use std::ops::Range;

use crate::mds::{Flaw, flaw::take_u32};

/// Where the samples of a shard lie in it; checked against its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Absolute, with the end of the last sample; they never decrease.
    Offsets(Vec<u32>),
    /// Samples of one size at equal distances, which may overlap.
    Even {
        /// First byte of the first one.
        begin: u64,
        /// From one to the next. Unit: bytes.
        stride: u64,
        /// Size of each.
        bytes: u64,
        /// How many there are.
        rows: u64,
    },
}

impl Layout {
    /// Reads the head of a raw MDS shard, which must hold `samples`.
    pub(crate) fn of_mds(content: &[u8], samples: u64) -> Result<Self, Flaw> {
        let offsets = offsets(content)?;
        let found = offsets.len() as u64 - 1;
        if found != samples {
            return Err(Flaw::new(0, format_args!("{samples} samples, as the index says"), found));
        }
        Ok(Self::Offsets(offsets))
    }

    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Offsets(offsets) => offsets.len() as u64 - 1,
            Self::Even { rows, .. } => *rows,
        }
    }

    /// The bytes of a row; `None` where there is no such row.
    pub(crate) fn row(&self, row: u64) -> Option<Range<u64>> {
        match self {
            Self::Offsets(offsets) => {
                let row = usize::try_from(row).ok()?;
                let end = offsets.get(row.checked_add(1)?)?;
                Some(u64::from(*offsets.get(row)?)..u64::from(*end))
            }
            Self::Even { begin, stride, bytes, rows } => {
                // Only a row that is there has a place that can't overflow.
                let first = (row < *rows).then(|| begin + row * stride)?;
                Some(first..first + bytes)
            }
        }
    }
}

/// u32 n, then n + 1 absolute offsets that never decrease and end with the file.
pub(crate) fn offsets(content: &[u8]) -> Result<Vec<u32>, Flaw> {
    let mut at = 0;
    let samples = take_u32(content, &mut at, "the number of samples")? as usize;
    // Before anything is allocated: an absurd count can't be true.
    if (content.len() - at) / 4 <= samples {
        return Err(Flaw::new(
            0,
            format_args!("{samples} samples' offsets"),
            format_args!("{} bytes", content.len()),
        ));
    }
    let mut least = (8 + 4 * samples) as u32;
    let mut offsets = Vec::with_capacity(samples + 1);
    for _ in 0..=samples {
        let begin = at;
        let offset = take_u32(content, &mut at, "an offset")?;
        if offset < least || offset as usize > content.len() {
            let expected = format!("an offset from {least} to {}", content.len());
            return Err(Flaw::new(begin, expected, offset));
        }
        least = offset;
        offsets.push(offset);
    }
    if least as usize != content.len() {
        return Err(Flaw::new(at - 4, format_args!("{}, the end of the file", content.len()), least));
    }
    Ok(offsets)
}
