//! What makes tokens of text, and text of tokens.

use std::{fmt, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tokenizers::tokenizer::{
    DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::{Error, Result, mds::Range};

/// How tokens that are not bytes are told from one another in an index.
const DIGEST: &str = " sha256:";

/// Token files hold 16 bits for each.
const MOST_TOKENS: usize = 1 << 16;

/// What makes tokens of text.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// `bytes`: each byte of the text's UTF-8 is a token.
    Bytes,
    /// A `tokenizer.json` of Hugging Face's `tokenizers`.
    File(Arc<FromFile>),
}

/// A tokenizer that was read from a file.
pub struct FromFile {
    name: String,
    num_tokens: usize,
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// `bytes`, or the file of that name.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the file is none, or has more tokens than token files can hold.
    pub fn open(name: &str) -> Result<Self> {
        if name == "bytes" {
            return Ok(Self::Bytes);
        }
        let path = Path::new(name);
        let bad = |reason: String| Error::Tokenizer { file: path.to_owned(), reason };
        let text = std::fs::read(path)
            .map_err(|error| bad(format!("{error}; write bytes, or name a tokenizer.json")))?;
        let inner = tokenizers::Tokenizer::from_bytes(&text)
            .map_err(|error| bad(format!("it is no tokenizer.json of Hugging Face's tokenizers: {error}")))?;
        let num_tokens = inner.get_vocab(true).values().max().map_or(0, |largest| *largest as usize + 1);
        if num_tokens == 0 || num_tokens > MOST_TOKENS {
            return Err(bad(format!(
                "it has {num_tokens} tokens, and a file of tokens can tell {MOST_TOKENS} apart"
            )));
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{file}{DIGEST}{}", hex::encode(Sha256::digest(&text)));
        Ok(Self::File(Arc::new(FromFile { name, num_tokens, inner })))
    }

    /// Whether tokens that an index says are `recorded`'s are this one's; what a file is called doesn't matter.
    pub fn made(&self, recorded: &str) -> bool {
        let digest = |name: &str| name.rsplit_once(DIGEST).map(|(_, digest)| digest.to_owned());
        match self {
            Self::Bytes => recorded == "bytes",
            Self::File(file) => digest(recorded).is_some() && digest(recorded) == digest(&file.name),
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`Error::Encoding`] with the tokenizer's words.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u16::from).collect()),
            Self::File(file) => file.encode(vec![text]),
        }
    }

    /// Makes text of tokens as they come.
    pub fn decoder(&self) -> Decoder<'_> {
        match self {
            Self::Bytes => Decoder::Bytes(Vec::new()),
            Self::File(file) => Decoder::File(Box::new(file.inner.decode_stream(false))),
        }
    }

    /// The tokens that there may be, whatever the text.
    pub(crate) fn range(&self) -> Range {
        let largest = match self {
            Self::Bytes => u8::MAX.into(),
            Self::File(file) => file.num_tokens as f64 - 1.0,
        };
        Range { min: 0.0, max: largest }
    }
}

impl FromFile {
    /// Of several pieces of text, one after the other; on all cores.
    pub(crate) fn encode(&self, pieces: Vec<&str>) -> Result<Vec<u16>> {
        let failed = |error: tokenizers::Error| Error::Encoding { reason: error.to_string() };
        let encoded = self.inner.encode_batch_fast(pieces, false).map_err(failed)?;
        let tokens = encoded.iter().flat_map(|piece| piece.get_ids());
        // None is larger than the vocabulary, which fits.
        Ok(tokens.map(|token| *token as u16).collect())
    }
}

impl fmt::Debug for FromFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// As an index names it.
impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::File(file) => &file.name,
        })
    }
}

type Stream<'t> = DecodeStream<
    't,
    ModelWrapper,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Makes text of tokens: each token may hold only a part of a character, which is kept until it is whole.
pub enum Decoder<'t> {
    /// What is still to be completed.
    Bytes(Vec<u8>),
    /// The library's own.
    File(Box<Stream<'t>>),
}

impl Decoder<'_> {
    /// The text that is whole with this token.
    ///
    /// # Errors
    /// [`Error::Encoding`] with the tokenizer's words.
    pub fn push(&mut self, token: i64) -> Result<String> {
        match self {
            Self::Bytes(waiting) => {
                waiting.push(u8::try_from(token).unwrap_or(b'?'));
                let whole = match std::str::from_utf8(waiting) {
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    _ => waiting.len(),
                };
                let text: Vec<u8> = waiting.drain(..whole).collect();
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Self::File(stream) => {
                let token = u32::try_from(token).unwrap_or(u32::MAX);
                let text =
                    stream.step(token).map_err(|error| Error::Encoding { reason: error.to_string() })?;
                Ok(text.unwrap_or_default())
            }
        }
    }

    /// What was never completed.
    pub fn end(self) -> String {
        match self {
            Self::Bytes(waiting) => String::from_utf8_lossy(&waiting).into_owned(),
            Self::File(_) => String::new(),
        }
    }
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
