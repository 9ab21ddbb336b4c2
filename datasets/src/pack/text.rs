use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result, Tokenizer, WriterOptions,
    mds::Notes,
    pack::{
        PackReport, PackedSplit,
        input::open_input,
        options::ends,
        pieces::Pieces,
        utf8::{NotUtf8, Utf8},
    },
    tokens::{COLUMN, TokenWriter},
};

/// Text that is read at a time. Unit: bytes.
const PIECE: usize = 64 << 10;

/// A character of UTF-8 has no more. Unit: bytes.
const MOST_CHARACTER_BYTES: u64 = 4;

/// How to pack text.
#[derive(Debug, Clone)]
pub struct PackTextOptions {
    /// A file of UTF-8, possibly gzipped.
    pub input: PathBuf,
    /// URI of the dataset to make.
    pub output: String,
    /// Default [`Tokenizer::Bytes`].
    pub tokenizer: Tokenizer,
    /// Names and fractions of the splits, which add up to 1. The text is cut in this order, and not shuffled: what follows
    /// a piece tells much about it. Default: one split, `train`.
    pub shares: Vec<(String, f64)>,
    /// Size of a file, and hashes. Tokens are not compressed.
    pub writer: WriterOptions,
    /// Where the text is from; kept in the index.
    pub source: Option<String>,
}

impl PackTextOptions {
    /// The defaults.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            tokenizer: Tokenizer::Bytes,
            shares: vec![("train".into(), 1.0)],
            writer: WriterOptions::default(),
            source: None,
        }
    }
}

/// Packs a text into token files. No character is cut in two by the splits.
///
/// The text is read twice, first to check and measure it; memory holds one file of each split, and where a tokenizer is a file's some
/// megabytes of text. Blocking.
///
/// # Errors
/// [`Error::Row`] naming the line that is not UTF-8, and [`Error::BadOption`] for a split that would be empty, before
/// anything is written; [`Error::Exists`]; [`Error::Empty`]; storage errors.
pub fn pack_text(options: &PackTextOptions) -> Result<PackReport> {
    let total = measure(&options.input)?;
    if total == 0 {
        return Err(Error::Empty { uri: options.input.display().to_string() });
    }
    if options.writer.compression.is_some() {
        return Err(Error::option("compression", "none for token files", "given"));
    }
    let ends = ends(&options.shares, total)?;
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let smallest = begins.zip(&ends).map(|(begin, end)| end - begin).min().unwrap_or(0);
    if ends.len() > 1 && smallest < MOST_CHARACTER_BYTES {
        let rule = format!("shares of at least {MOST_CHARACTER_BYTES} bytes of the text's {total}");
        return Err(Error::option("split fractions", rule, format!("{:?}", options.shares)));
    }
    let names = || options.shares.iter().map(|(name, _)| name);
    let mut writers = names()
        .map(|name| TokenWriter::create(&options.output, name, options.writer.clone()))
        .collect::<Result<Vec<_>>>()?;
    let mut deal = Deal { ends, split: 0, at: 0 };
    match &options.tokenizer {
        Tokenizer::Bytes => each_piece(&options.input, |piece| {
            deal.deal(piece, |split, bytes| writers[split].write(bytes.iter().map(|byte| u16::from(*byte))))
        })?,
        Tokenizer::File(file) => {
            let mut waiting: Vec<_> = writers.iter().map(|_| Pieces::default()).collect();
            let mut put = |split: usize, pieces: Vec<&str>| writers[split].write(file.encode(pieces)?);
            each_piece(&options.input, |piece| {
                deal.deal(piece, |split, bytes| match waiting[split].push(bytes) {
                    true => waiting[split].take(false, |pieces| put(split, pieces)),
                    false => Ok(()),
                })
            })?;
            for (split, mut rest) in waiting.into_iter().enumerate() {
                rest.take(true, |pieces| put(split, pieces))?;
            }
        }
    }
    let ranges = BTreeMap::from([(COLUMN.to_owned(), options.tokenizer.range())]);
    let notes = Notes {
        ranges: ranges.clone(),
        source: options.source.clone(),
        tokenizer: Some(options.tokenizer.to_string()),
        ..Notes::default()
    };
    let finish = |(writer, name): (TokenWriter, &String)| {
        Ok(PackedSplit::new(name, &writer.finish(notes.clone())?, BTreeMap::new()))
    };
    let splits = writers.into_iter().zip(names()).map(finish).collect::<Result<_>>()?;
    Ok(PackReport { uri: options.output.clone(), splits, ranges })
}

/// Size of a text that is one.
fn measure(file: &Path) -> Result<u64> {
    let mut utf8 = Utf8::default();
    let bad = |NotUtf8 { line, byte }| Error::Row {
        file: file.to_owned(),
        line,
        reason: format!("byte {byte} of the text is not UTF-8; convert it, for example with iconv -t UTF-8"),
    };
    each_piece(file, |piece| utf8.push(piece).map_err(bad))?;
    utf8.end().map_err(bad)?;
    Ok(utf8.total)
}

fn each_piece(file: &Path, mut piece: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut input = open_input(file)?;
    let mut buffer = vec![0; PIECE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => piece(&buffer[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) => return Err(Error::io("read", file)(error)),
        }
    }
}

/// Deals text to the splits, one after the other.
struct Deal {
    ends: Vec<u64>,
    split: usize,
    at: u64,
}

impl Deal {
    fn deal(&mut self, piece: &[u8], mut put: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut rest = piece;
        while let Some(first) = rest.first() {
            let left = self.ends.get(self.split).map_or(0, |end| end.saturating_sub(self.at));
            let is_last = self.split + 1 >= self.ends.len();
            let is_inside_character = first & 0b1100_0000 == 0b1000_0000;
            let take = match left {
                _ if is_last => rest.len(),
                0 if is_inside_character => 1,
                0 => {
                    self.split += 1;
                    continue;
                }
                left => rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            };
            let (taken, others) = rest.split_at(take);
            put(self.split, taken)?;
            self.at += take as u64;
            rest = others;
        }
        Ok(())
    }
}
