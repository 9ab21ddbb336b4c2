use crate::{
    mds::{Dtype, FileInfo, Flaw, Layout, Range, ShardInfo},
    tokens::{
        Cut, TokenFile,
        header::{HEADER_BYTES, parse_token_header},
    },
};

/// `format` and `version` of an entry, and its one column.
pub(crate) const FORMAT: &str = "tokens";
pub(crate) const VERSION: u32 = 1;
pub(crate) const COLUMN: &str = "tokens";

impl ShardInfo {
    /// The entry of a token file. Its samples are tokens, so that no digest depends on how they are cut.
    pub(crate) fn of_tokens(file: TokenFile, raw_data: FileInfo) -> Self {
        Self {
            column_encodings: vec![file.dtype.name().to_owned()],
            column_names: vec![COLUMN.to_owned()],
            column_sizes: vec![Some(file.dtype.bytes() as u32)],
            compression: None,
            format: FORMAT.to_owned(),
            hashes: raw_data.hashes.keys().cloned().collect(),
            raw_data,
            samples: file.tokens,
            size_limit: None,
            version: VERSION,
            zip_data: None,
        }
    }
}

/// Whether an entry's numbers fit one another, or why not.
pub(crate) fn check_entry(info: &ShardInfo) -> Result<(), String> {
    let [name] = info.column_names.as_slice() else {
        return Err(format!("a token file has one column, not {}", info.column_names.len()));
    };
    if name != COLUMN {
        return Err(format!("the column of a token file is {COLUMN:?}, not {name:?}"));
    }
    file_of(info).map(drop)
}

/// The file that an entry is about.
fn file_of(info: &ShardInfo) -> Result<TokenFile, String> {
    let encoding = info.column_encodings.first().map(String::as_str).unwrap_or_default();
    let dtype = [Dtype::U16, Dtype::U32].into_iter().find(|dtype| dtype.name() == encoding);
    let dtype = dtype.ok_or_else(|| format!("tokens are uint16 or uint32, not {encoding:?}"))?;
    let (tokens, bytes) = (info.samples, info.raw_data.bytes);
    let bare = TokenFile { dtype, begin: 0, tokens };
    let headed = TokenFile { begin: HEADER_BYTES, ..bare };
    if headed.bytes() == bytes {
        return Ok(headed);
    }
    match dtype {
        Dtype::U16 if bare.bytes() == bytes => Ok(bare),
        _ => Err(format!(
            "{tokens} tokens of {encoding} are {} bytes with a header, but it has {bytes}",
            headed.bytes()
        )),
    }
}

/// Checks that a file's content begins as its entry says, and cuts it.
pub(crate) fn layout(content: &[u8], info: &ShardInfo, cut: Cut) -> Result<Layout, Flaw> {
    let head = &content[..content.len().min(HEADER_BYTES as usize)];
    let found = parse_token_header(head, content.len() as u64)?;
    let expected = file_of(info).map_err(|reason| Flaw::new(0, "a token file of the index", reason))?;
    if found != expected {
        return Err(Flaw::new(0, told(expected) + ", as the index says", told(found)));
    }
    Ok(cut.layout(found))
}

fn told(TokenFile { dtype, begin, tokens }: TokenFile) -> String {
    let header = if begin == 0 { "no header" } else { "llm.c's header" };
    format!("{header} and {tokens} tokens of {}", dtype.name())
}

/// Smallest and largest token of a file whose content was checked.
pub(crate) fn range(content: &[u8], info: &ShardInfo) -> Option<Range> {
    let file = file_of(info).ok()?;
    let tokens = content.get(file.begin as usize..)?;
    let (min, max) = match file.dtype {
        Dtype::U32 => bounds(tokens.as_chunks().0.iter().map(|token| u32::from_le_bytes(*token)))?,
        _ => bounds(tokens.as_chunks().0.iter().map(|token| u16::from_le_bytes(*token).into()))?,
    };
    Some(Range { min: min.into(), max: max.into() })
}

fn bounds(tokens: impl Iterator<Item = u32>) -> Option<(u32, u32)> {
    tokens.fold(None, |so_far, token| {
        let (min, max) = so_far.unwrap_or((token, token));
        Some((min.min(token), max.max(token)))
    })
}
