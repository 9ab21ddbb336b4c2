use crate::{
    Result, WriterOptions,
    mds::{Dtype, FileInfo, Index, Notes, ShardInfo, Target},
    tokens::header::{HEADER_BYTES, TokenFile},
};

const WIDTH: u64 = 2;

fn file_name(number: usize) -> String {
    format!("tokens.{number:05}.bin")
}

/// Whether a file's name is one that this writer gives.
pub(crate) fn is_file_name(name: &str) -> bool {
    let number = name.strip_prefix("tokens.").and_then(|rest| rest.strip_suffix(".bin"));
    number.and_then(|number| number.parse().ok()).is_some_and(|number| file_name(number) == name)
}

/// Writes one split of tokens as llm.c's files of `uint16`: file after file, the index last.
#[derive(Debug)]
pub(crate) struct TokenWriter {
    target: Target,
    options: WriterOptions,
    /// Tokens of a full file.
    most: u64,
    /// The file that is being filled, from its header on.
    file: Vec<u8>,
    shards: Vec<ShardInfo>,
}

impl TokenWriter {
    /// As [`Writer::create`](crate::Writer::create).
    pub(crate) fn create(uri: &str, split: &str, mut options: WriterOptions) -> Result<Self> {
        options.check()?;
        let target = Target::open(uri, split)?;
        let most = (options.shard_bytes.saturating_sub(HEADER_BYTES) / WIDTH).clamp(1, i32::MAX as u64);
        Ok(Self { target, options, most, file: TokenFile::header(0), shards: Vec::new() })
    }

    pub(crate) fn write(&mut self, tokens: impl IntoIterator<Item = u16>) -> Result<()> {
        for token in tokens {
            if self.tokens() == self.most {
                self.close_file()?;
            }
            self.file.extend(token.to_le_bytes());
        }
        Ok(())
    }

    /// Writes the last file and the index.
    pub(crate) fn finish(mut self, notes: Notes) -> Result<Index> {
        if self.tokens() > 0 {
            self.close_file()?;
        }
        self.target.finish(self.shards, Some(notes))
    }

    fn tokens(&self) -> u64 {
        (self.file.len() as u64 - HEADER_BYTES) / WIDTH
    }

    fn close_file(&mut self) -> Result<()> {
        let tokens = self.tokens();
        // It fits: no more are taken than this number can count.
        let header = TokenFile::header(tokens as i32);
        self.file[..header.len()].copy_from_slice(&header);
        let file = std::mem::replace(&mut self.file, TokenFile::header(0));
        let raw_data = FileInfo::new(file_name(self.shards.len()), &file, &self.options.hashes);
        self.target.put(&raw_data.basename, file)?;
        let file = TokenFile { dtype: Dtype::U16, begin: HEADER_BYTES, tokens };
        self.shards.push(ShardInfo::of_tokens(file, raw_data));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_again() {
        for number in [0, 7, 99_999, 100_000] {
            assert!(is_file_name(&file_name(number)), "{number}");
        }
        for name in
            ["tokens.bin", "tokens.0.bin", "tokens.000001.bin", "tokens.+0001.bin", "tokens.00001.bin.gz"]
        {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
