//! Cuts text where no tokenizer looks across: then pieces have the tokens that the whole has.

/// Text that is on its way to a tokenizer.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    waiting: Vec<u8>,
}

/// Text that is handed to the tokenizer at once, cut into pieces for all cores. Unit: bytes.
const BATCH: usize = 4 << 20;
/// A piece, at least. Unit: bytes.
const PIECE: usize = 64 << 10;

impl Pieces {
    /// Takes the next bytes; true where there is enough for a batch.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        self.waiting.extend(bytes);
        self.waiting.len() >= BATCH
    }

    /// Hands over what can be cut off, or all of it at the end. Text without a place to cut is kept until there is one.
    pub(super) fn take<E>(
        &mut self,
        is_end: bool,
        put: impl FnOnce(Vec<&str>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A character may still be open at the end; the whole was checked before.
        let text = match std::str::from_utf8(&self.waiting) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&self.waiting[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut pieces = cut(text, PIECE);
        // What follows the last place to cut is not known yet.
        let kept = if is_end { None } else { pieces.pop() };
        let taken = text.len() - kept.map_or(0, str::len);
        put(pieces)?;
        self.waiting.drain(..taken);
        Ok(())
    }
}

/// Pieces of at least `size` bytes, but for the last, each of which ends with a line that another follows: a line break with no
/// other white space around. Tokenizers take white space apart by what comes after it.
fn cut(text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(end) = end_of_piece(rest, size) {
        let (piece, others) = rest.split_at(end);
        pieces.push(piece);
        rest = others;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn end_of_piece(text: &str, size: usize) -> Option<usize> {
    let mut from = text.ceil_char_boundary(size);
    while let Some(found) = text.get(from..).and_then(|rest| rest.find('\n')) {
        let end = from + found + 1;
        let before = text[..end - 1].chars().next_back();
        let after = text[end..].chars().next();
        let is_plain = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
        if is_plain(before) && is_plain(after) {
            return Some(end);
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_only_between_two_lines_that_touch() {
        let text = "ab\ncd\n\nef \ngh\n ij\nk\u{e9}\n\u{20ac}l";
        assert_eq!(cut(text, 1), ["ab\n", "cd\n\nef \ngh\n ij\n", "k\u{e9}\n", "\u{20ac}l"]);
        assert_eq!(cut(text, 4), ["ab\ncd\n\nef \ngh\n ij\n", "k\u{e9}\n\u{20ac}l"]);
        assert_eq!(cut("no end", 2), ["no end"]);
        assert_eq!(cut("", 2), Vec::<&str>::new());
        for size in 0..=text.len() + 1 {
            assert_eq!(cut(text, size).concat(), text, "{size}");
        }
    }

    #[test]
    fn nothing_is_lost_on_the_way_whatever_it_comes_in() {
        let text = "one\ntwo \u{1f600}\nthree\n".repeat(3);
        for by in 1..9 {
            let (mut pieces, mut got) = (Pieces::default(), String::new());
            for part in text.as_bytes().chunks(by) {
                pieces.push(part);
                let put = |pieces: Vec<&str>| {
                    got += &pieces.concat();
                    Ok::<_, ()>(())
                };
                pieces.take(false, put).unwrap();
            }
            pieces
                .take(true, |pieces| -> Result<(), ()> {
                    got += &pieces.concat();
                    Ok(())
                })
                .unwrap();
            assert_eq!(got, text);
        }
    }
}
