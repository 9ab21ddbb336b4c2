//! What workers print, line by line.

use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is cut, so that a worker that prints no newline can't fill the agent's memory.
const MAX_LINE_BYTES: usize = 16 << 10;
/// Stands at the end of what was cut.
const CUT: &str = "…";
/// A line that is written over with a carriage return, as progress bars are, is shown this often.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Passes every line on, without its end, until the stream ends. Bytes that aren't UTF-8 are replaced.
pub(super) async fn lines<R: AsyncRead + Unpin>(mut from: R, mut to: impl FnMut(String)) {
    let mut cutter = Cutter::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => cutter.take(&buffer[..n], Instant::now(), &mut to),
        }
    }
    cutter.finish(&mut to);
}

/// Cuts a stream of bytes into lines of bounded size.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
    /// The last byte was a carriage return: the line is over, or what comes next writes over it.
    returned: bool,
    /// When a line that is written over was last shown.
    shown: Option<Instant>,
    /// The end of a line that was cut comes next.
    continues: bool,
}

impl Cutter {
    fn take(&mut self, bytes: &[u8], now: Instant, mut to: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            if self.returned && !(text.is_empty() && end == Some(b'\n')) {
                // What was there is written over now.
                self.write_over(now, &mut to);
            }
            self.returned = false;
            self.append(text, &mut to);
            match end {
                Some(b'\n') => self.end(&mut to),
                Some(_) => self.returned = true,
                None => {}
            }
        }
    }

    /// What is left at the end of the stream.
    fn finish(&mut self, mut to: impl FnMut(String)) {
        if !self.line.is_empty() {
            self.end(&mut to);
        }
    }

    fn append(&mut self, mut text: &[u8], to: &mut impl FnMut(String)) {
        while self.line.len() + text.len() > MAX_LINE_BYTES {
            let (now, later) = text.split_at(MAX_LINE_BYTES.saturating_sub(self.line.len()));
            self.line.extend_from_slice(now);
            // Never inside a character: what began of the last one goes into the next line.
            let begun = self.line.len() - whole_characters(&self.line);
            let rest = self.line.split_off(self.line.len() - begun);
            to(String::from_utf8_lossy(&self.line).into_owned() + CUT);
            (self.line, self.continues, text) = (rest, true, later);
        }
        self.line.extend_from_slice(text);
    }

    fn end(&mut self, to: &mut impl FnMut(String)) {
        let line = std::mem::take(&mut self.line);
        // A line that was cut exactly at its end has nothing more.
        if !(std::mem::take(&mut self.continues) && line.is_empty()) {
            to(String::from_utf8_lossy(&line).into_owned());
        }
    }

    fn write_over(&mut self, now: Instant, to: &mut impl FnMut(String)) {
        if self.shown.is_none_or(|shown| now >= shown + SHOW_EVERY) && !self.line.is_empty() {
            self.shown = Some(now);
            self.end(to);
        }
        self.line.clear();
        self.continues = false;
    }
}

/// How many of the bytes are whole characters, where only the last one can be incomplete; text that isn't UTF-8 is taken as
/// it is.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..]) {
        Ok(_) => bytes.len(),
        Err(_) => {
            let start = (1..=3).find(|back| bytes.len() >= *back && is_start(bytes[bytes.len() - back]));
            match start {
                Some(back) if back < length_from(bytes[bytes.len() - back]) => bytes.len() - back,
                _ => bytes.len(),
            }
        }
    }
}

fn is_start(byte: u8) -> bool {
    byte & 0xc0 == 0xc0
}

fn length_from(start: u8) -> usize {
    match start {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of pieces that arrive a millisecond apart.
    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let (mut cutter, mut found, start) = (Cutter::default(), Vec::new(), Instant::now());
        for (i, piece) in pieces.iter().enumerate() {
            cutter.take(piece, start + Duration::from_millis(i as u64), |text| found.push(text));
        }
        cutter.finish(|text| found.push(text));
        found
    }

    #[test]
    fn long_and_broken_lines_are_cut_not_lost() {
        let mut input = vec![b'x'; MAX_LINE_BYTES + 1];
        input.extend(b"\r\n\nlast \xff");
        let found = cut(&[&input]);
        assert_eq!(found[0], "x".repeat(MAX_LINE_BYTES) + CUT);
        assert_eq!(found[1..], ["x", "", "last \u{fffd}"]);
        assert_eq!(cut(&[&vec![b'x'; MAX_LINE_BYTES], b"\n"]), ["x".repeat(MAX_LINE_BYTES)]);
    }

    #[test]
    fn no_character_is_cut() {
        for (text, shift) in [("é", 1), ("€", 1), ("€", 2), ("😀", 1), ("😀", 2), ("😀", 3)] {
            let line = "x".repeat(shift) + &text.repeat(MAX_LINE_BYTES);
            let found = cut(&[line.as_bytes()]);
            assert!(found.iter().all(|part| !part.contains('\u{fffd}')), "{text} {shift}");
            assert_eq!(found.concat().replace(CUT, ""), line);
        }
    }

    #[test]
    fn a_progress_bar_is_shown_while_it_runs_and_at_its_end() {
        let steps: Vec<String> = (0..5000).map(|i| format!("\r{i}/5000")).collect();
        let mut pieces: Vec<&[u8]> = steps.iter().map(String::as_bytes).collect();
        pieces.push(b"\n");
        let found = cut(&pieces);
        assert_eq!(found.last().unwrap(), "4999/5000");
        assert!((5..=7).contains(&found.len()), "{found:?}");
        assert_eq!(cut(&[b"a\r", b"\nb\r\nc"]), ["a", "b", "c"], "the end of a line on other systems");
    }

    #[tokio::test]
    async fn memory_is_bounded_without_a_newline() {
        let mut found = 0;
        lines(tokio::io::repeat(b'x').take(8 << 20), |line| {
            assert!(line.len() <= MAX_LINE_BYTES + CUT.len());
            found += 1;
        })
        .await;
        assert_eq!(found, 512);
    }
}
