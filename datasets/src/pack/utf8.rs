/// Checks that text which comes in pieces is UTF-8.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// Of the text so far. Unit: bytes.
    pub total: u64,
    lines: u64,
    /// The beginning of a character whose end is still to come.
    open: Vec<u8>,
}

/// Where text is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8 {
    /// From 1.
    pub line: u64,
    /// From 0.
    pub byte: u64,
}

impl Utf8 {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        // A character has 4 bytes at most, so an open one is closed, or wrong, with the next few.
        let mut rest = piece;
        while let (false, Some((first, others))) = (self.open.is_empty(), rest.split_first()) {
            self.open.push(*first);
            (rest, self.total) = (others, self.total + 1);
            match std::str::from_utf8(&self.open) {
                Ok(_) => self.open.clear(),
                Err(error) if error.error_len().is_none() => (),
                Err(_) => return Err(self.at(self.total - self.open.len() as u64)),
            }
        }
        let valid = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            Err(error) => error.valid_up_to(),
        };
        self.lines += rest[..valid].iter().filter(|byte| **byte == b'\n').count() as u64;
        let tail = &rest[valid..];
        if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_some()) {
            return Err(self.at(self.total + valid as u64));
        }
        self.open.extend(tail);
        self.total += rest.len() as u64;
        Ok(())
    }

    /// After the last piece.
    pub(super) fn end(&self) -> Result<(), NotUtf8> {
        if self.open.is_empty() { Ok(()) } else { Err(self.at(self.total - self.open.len() as u64)) }
    }

    fn at(&self, byte: u64) -> NotUtf8 {
        NotUtf8 { line: self.lines + 1, byte }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], piece: usize) -> Result<u64, NotUtf8> {
        let mut utf8 = Utf8::default();
        text.chunks(piece).try_for_each(|piece| utf8.push(piece))?;
        utf8.end()?;
        Ok(utf8.total)
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "a\u{e9}\n\u{20ac}\u{1f600}z".as_bytes();
        for piece in 1..=text.len() {
            assert_eq!(check(text, piece), Ok(text.len() as u64), "{piece}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_found_wherever_it_is_cut() {
        for (text, line, byte) in [
            (b"a\nb\xff c".as_slice(), 2, 3),
            (b"a\n\xe2\x82", 2, 2),
            (b"\xe2\x82a", 1, 0),
            (b"\x80", 1, 0),
            (b"\xf0\x9f\x98\x80\n\xf0\x9f\n", 2, 5),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(check(text, piece), Err(NotUtf8 { line, byte }), "{text:?} by {piece}");
            }
        }
    }
}
