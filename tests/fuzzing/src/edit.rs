use proptest::prelude::*;

/// Numbers at which something overflows, ends or begins.
pub(crate) const ODD_NUMBERS: [u64; 9] =
    [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// One change of an input.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Number(prop::sample::Index, usize, bool),
    Insert(prop::sample::Index, Vec<u8>),
    Delete(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    /// The rest comes from another input of the corpus.
    Splice(prop::sample::Index, prop::sample::Index),
}

impl Edit {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            (at(), any::<u8>()).prop_map(|(at, byte)| Self::Set(at, byte)),
            (at(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            (at(), 0..ODD_NUMBERS.len(), any::<bool>())
                .prop_map(|(at, which, wide)| Self::Number(at, which, wide)),
            (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (at(), 1..17_usize).prop_map(|(at, count)| Self::Delete(at, count)),
            (at(), 1..65_usize).prop_map(|(at, count)| Self::Repeat(at, count)),
            at().prop_map(Self::Cut),
            (at(), at()).prop_map(|(at, other)| Self::Splice(at, other)),
        ]
    }

    pub(crate) fn apply(&self, data: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        // One past the end is a place too.
        let place = |at: &prop::sample::Index, data: &[u8]| at.index(data.len() + 1);
        match self {
            Self::Set(at, byte) => {
                let at = place(at, data);
                data.get_mut(at).into_iter().for_each(|there| *there = *byte);
            }
            Self::Flip(at, bit) => {
                let at = place(at, data);
                data.get_mut(at).into_iter().for_each(|there| *there ^= 1 << bit);
            }
            Self::Number(at, which, wide) => {
                let at = place(at, data);
                let bytes = &ODD_NUMBERS[*which].to_le_bytes()[..if *wide { 8 } else { 4 }];
                data.iter_mut().skip(at).zip(bytes).for_each(|(there, byte)| *there = *byte);
            }
            Self::Insert(at, bytes) => {
                let at = place(at, data);
                data.splice(at..at, bytes.iter().copied());
            }
            Self::Delete(at, count) => {
                let at = place(at, data);
                data.drain(at..data.len().min(at + count));
            }
            Self::Repeat(at, count) => {
                let at = place(at, data);
                let piece = data[at..data.len().min(at + count)].to_vec();
                data.splice(at..at, piece);
            }
            Self::Cut(at) => data.truncate(place(at, data)),
            Self::Splice(at, other) => {
                let other = &corpus[other.index(corpus.len())];
                data.truncate(place(at, data));
                data.extend_from_slice(&other[data.len().min(other.len())..]);
            }
        }
    }
}
