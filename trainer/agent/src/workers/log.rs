//! What workers print, line by line.

use super::Heard;
use lockstep_run::Rank;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

/// A longer line is cut here, so that a worker that prints no newline can't fill the agent's memory.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// One line of a worker's output, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The worker.
    pub rank: Rank,
    /// Its text; bytes that aren't UTF-8 are replaced.
    pub text: String,
}

/// Passes every line on until the stream ends.
pub(super) async fn lines<R: AsyncRead + Unpin>(from: R, rank: Rank, to: &mpsc::Sender<Heard>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    line.pop();
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                let _ = to.send(Heard::Line(LogLine { rank, text })).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_and_broken_lines_are_cut_not_lost() {
        let mut input = vec![b'x'; MAX_LINE_BYTES as usize + 1];
        input.extend(b"\r\n\nlast \xff");
        let (to, mut from) = mpsc::channel(8);
        lines(&input[..], Rank(0), &to).await;
        drop(to);
        let mut found = Vec::new();
        while let Some(Heard::Line(line)) = from.recv().await {
            found.push(line.text);
        }
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE_BYTES as usize, 1, 0, 8]);
        assert_eq!(found[3], "last \u{fffd}");
    }
}
