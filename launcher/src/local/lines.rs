//! What a process prints, line by line, in bounded memory.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The longest line that is kept whole. An agent's own lines are far shorter.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads lines until the stream ends.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    /// Bytes of this line that were not kept.
    left_out: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::new(from), line: Vec::new(), left_out: 0 }
    }

    /// The next line without its end; bytes that aren't UTF-8 are replaced, and a line that is too long says that it was cut.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let bytes = self.from.fill_buf().await?;
            let (end, used) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (true, at + 1),
                None => (bytes.is_empty(), bytes.len()),
            };
            let text = bytes[..used].strip_suffix(b"\n").unwrap_or(&bytes[..used]);
            let kept = text.len().min(MAX_LINE_BYTES - self.line.len());
            self.line.extend_from_slice(&text[..kept]);
            self.left_out += (text.len() - kept) as u64;
            self.from.consume(used);
            if end {
                let nothing = used == 0 && self.line.is_empty();
                return Ok((!nothing).then(|| self.take()));
            }
        }
    }

    fn take(&mut self) -> String {
        let (mut line, left_out) = (std::mem::take(&mut self.line), std::mem::take(&mut self.left_out));
        if left_out == 0 {
            let text = line.strip_suffix(b"\r").unwrap_or(&line);
            return String::from_utf8_lossy(text).into_owned();
        }
        // Not inside a character: of those, at most three bytes may be here without their last.
        let starts = line.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
        let whole = std::str::from_utf8(&line[starts..]).is_ok();
        let cut = if whole || line.len() - starts > 3 { line.len() } else { starts };
        let left_out = left_out + (line.len() - cut) as u64;
        line.truncate(cut);
        format!("{}… ({left_out} more bytes)", String::from_utf8_lossy(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(line);
        }
        found
    }

    #[tokio::test]
    async fn lines_are_read_whatever_is_in_them() {
        assert_eq!(all(b"a\r\n\n\xff bad\nlast").await, ["a", "", "\u{fffd} bad", "last"]);
        assert!(all(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_cut_between_characters_and_says_so() {
        for (character, odd) in [("x", ""), ("€", ""), ("€", "y"), ("€", "yy"), ("𝄞", "yyy")] {
            let mut text = odd.to_owned() + &character.repeat(MAX_LINE_BYTES / character.len() + 100);
            let length = text.len();
            text.push_str("\nnext");
            let found = all(text.as_bytes()).await;
            let (kept, rest) = found[0].split_once('…').unwrap();
            assert!(kept.len() <= MAX_LINE_BYTES && kept.ends_with(character), "{character}{odd}");
            assert!(!kept.contains('\u{fffd}'), "{character}{odd}");
            assert_eq!(rest, format!(" ({} more bytes)", length - kept.len()), "{character}{odd}");
            assert_eq!(found[1], "next");
        }
    }
}
