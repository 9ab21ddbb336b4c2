use crate::mds::{Dtype, Flaw};

/// llm.c's header: 256 little-endian i32, of which the first three mean something: magic, version, number of tokens.
pub(crate) const HEADER_BYTES: u64 = 1024;

/// What [`HEADER_BYTES`] of a header begin with, by the number type of the tokens.
const LLM_C: [(i32, i32, Dtype); 2] = [(20_240_520, 1, Dtype::U16), (20_240_801, 7, Dtype::U32)];

/// llm.c's magics are dates of this year. As two tokens of a file without header they would be numbers that no common
/// vocabulary has.
const MAGICS: std::ops::RangeInclusive<i32> = 20_240_101..=20_241_231;

/// What beginning and size of a file of tokens say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenFile {
    /// Number type of the tokens: `uint16` or `uint32`.
    pub dtype: Dtype,
    /// Where the first token is: 1024 after llm.c's header, 0 without one.
    pub begin: u64,
    /// Number of tokens.
    pub tokens: u64,
}

impl TokenFile {
    /// Size of the whole file.
    pub fn bytes(&self) -> u64 {
        self.begin.saturating_add(self.tokens.saturating_mul(self.dtype.bytes() as u64))
    }

    /// The header that llm.c writes before tokens of type `uint16`.
    pub(crate) fn header(tokens: i32) -> Vec<u8> {
        let (magic, version, _) = LLM_C[0];
        let mut header: Vec<u8> = [magic, version, tokens].iter().flat_map(|n| n.to_le_bytes()).collect();
        header.resize(HEADER_BYTES as usize, 0);
        header
    }
}

/// Reads the beginning of a token file of `bytes` bytes: the first 1024 of them, or all where there are fewer. A file
/// without llm.c's header is taken for one of `uint16`, as nanoGPT writes it.
///
/// # Errors
/// The [`Flaw`], by its offset in the file.
pub fn parse_token_header(head: &[u8], bytes: u64) -> Result<TokenFile, Flaw> {
    if bytes == 0 {
        return Err(Flaw::new(0, "tokens", "an empty file"));
    }
    let Some(magic) = number(head, 0).filter(|magic| MAGICS.contains(magic)) else {
        return match bytes.is_multiple_of(2) {
            true => Ok(TokenFile { dtype: Dtype::U16, begin: 0, tokens: bytes / 2 }),
            false => {
                let expected = "llm.c's header, or else tokens of 2 bytes each";
                Err(Flaw::new(0, expected, format_args!("{bytes} bytes without a header")))
            }
        };
    };
    let Some((_, version, dtype)) = LLM_C.into_iter().find(|(known, ..)| *known == magic) else {
        let expected = "the magic of llm.c's token files, 20240520 for uint16 or 20240801 for uint32";
        return Err(Flaw::new(0, expected, magic));
    };
    let [Some(found), Some(count), Some(_)] = [4, 8, HEADER_BYTES as usize - 4].map(|at| number(head, at))
    else {
        return Err(Flaw::new(head.len(), "1024 bytes of header", format_args!("{bytes} bytes in all")));
    };
    if found != version {
        return Err(Flaw::new(4, format_args!("version {version} after the magic {magic}"), found));
    }
    let Some(tokens) = u64::try_from(count).ok().filter(|count| *count > 0) else {
        return Err(Flaw::new(8, "the number of tokens, at least 1", count));
    };
    let file = TokenFile { dtype, begin: HEADER_BYTES, tokens };
    if file.bytes() != bytes {
        let how = if bytes < file.bytes() { "it is truncated" } else { "it is too long" };
        let expected = format!("{} bytes for the {tokens} tokens that the header counts", file.bytes());
        return Err(Flaw::new(8, expected, format_args!("{bytes}: {how}")));
    }
    Ok(file)
}

fn number(head: &[u8], at: usize) -> Option<i32> {
    let (bytes, _) = head.get(at..)?.split_first_chunk()?;
    Some(i32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `write_datafile` of llm.c's `dev/data/data_common.py` makes it.
    fn header(magic: i32, version: i32, count: i32) -> Vec<u8> {
        let mut header = [0_i32; 256];
        header[..3].copy_from_slice(&[magic, version, count]);
        header.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    #[test]
    fn both_versions_and_files_without_a_header_are_told_apart() {
        let u16s = TokenFile { dtype: Dtype::U16, begin: 1024, tokens: 5 };
        assert_eq!(parse_token_header(&header(20_240_520, 1, 5), 1034), Ok(u16s));
        assert_eq!(TokenFile::header(5), header(20_240_520, 1, 5));
        let u32s = TokenFile { dtype: Dtype::U32, begin: 1024, tokens: 5 };
        assert_eq!(parse_token_header(&header(20_240_801, 7, 5), 1044), Ok(u32s));
        let bare = TokenFile { dtype: Dtype::U16, begin: 0, tokens: 3 };
        assert_eq!(parse_token_header(&[1, 0, 2, 0, 3, 0], 6), Ok(bare));
        let one = TokenFile { tokens: 1, ..bare };
        assert_eq!(parse_token_header(&[1, 0], 2), Ok(one), "shorter than a magic");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let ok = header(20_240_520, 1, 5);
        for (head, bytes, offset, part) in [
            (vec![], 0, 0, "an empty file"),
            (vec![1; 3], 3, 0, "3 bytes without a header"),
            (header(20_240_522, 1, 5), 1034, 0, "got 20240522"),
            (header(20_240_520, 7, 5), 1034, 4, "version 1 after the magic 20240520"),
            (header(20_240_801, 1, 5), 1044, 4, "version 7 after the magic 20240801"),
            (header(20_240_520, 1, 0), 1024, 8, "at least 1"),
            (header(20_240_520, 1, -1), 1034, 8, "at least 1"),
            (header(20_240_520, 1, i32::MAX), 1034, 8, "4294968318 bytes for the 2147483647 tokens"),
            (ok.clone(), 1033, 8, "it is truncated"),
            (ok.clone(), 1036, 8, "it is too long"),
            (ok[..8].to_vec(), 8, 8, "1024 bytes of header"),
            (ok[..1000].to_vec(), 1000, 1000, "1024 bytes of header"),
        ] {
            let flaw = parse_token_header(&head, bytes).unwrap_err();
            let text = format!("expected {}, got {}", flaw.expected, flaw.got);
            assert!(text.contains(part) && flaw.offset == offset, "{flaw:?} should say {part:?} at {offset}");
        }
    }
}
