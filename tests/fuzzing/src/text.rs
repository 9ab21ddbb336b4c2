use crate::edit::{Edit, ODD_NUMBERS};
use proptest::prelude::*;
use proptest::sample::Index;
use std::ops::Range;

/// What means something to a reader of JSON, YAML or TOML, and numbers that it may not be able to hold.
const WORDS: [&str; 46] = [
    "null", "true", "false", "~", "-1", "-0", "0.1", "1e999", "1e-7", "0x10", ".inf", ".nan", "NaN", "\"\"",
    "\"NaN\"", "[]", "{}", "[", "]", "{", "}", "\"", "'", ":", ": ", ",", "=", "#", "- ", "\n", "\n  ", "\t",
    "&a ", "*a", "<<: *a", "!!str ", "!x ", "|", ">-", "%", "\\u0000", "\\ud800", "\u{feff}", "\u{85}", "é",
    "../",
];

/// One change of a text.
#[derive(Debug, Clone)]
pub(crate) enum TextEdit {
    Bytes(Edit),
    /// Another number in place of the next one.
    Number(Index, usize),
    /// One of [`WORDS`], in place of the word here or before it.
    Word(Index, usize, bool),
    /// A word of another input in place of the word here.
    Borrow(Index, Index, Index),
    DropLine(Index),
    RepeatLine(Index, Index),
    /// A line of another input.
    BorrowLine(Index, Index, Index),
}

impl TextEdit {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        prop_oneof![
            3 => Edit::any().prop_map(Self::Bytes),
            2 => (at(), 0..ODD_NUMBERS.len()).prop_map(|(at, which)| Self::Number(at, which)),
            3 => (at(), 0..WORDS.len(), any::<bool>()).prop_map(|(at, which, over)| Self::Word(at, which, over)),
            3 => (at(), at(), at()).prop_map(|(at, other, from)| Self::Borrow(at, other, from)),
            1 => at().prop_map(Self::DropLine),
            1 => (at(), at()).prop_map(|(from, to)| Self::RepeatLine(from, to)),
            1 => (at(), at(), at()).prop_map(|(at, other, from)| Self::BorrowLine(at, other, from)),
        ]
    }

    pub(crate) fn apply(&self, data: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let other = |which: &Index| &corpus[which.index(corpus.len())];
        let place = |at: &Index, data: &[u8]| at.index(data.len() + 1);
        match self {
            Self::Bytes(edit) => edit.apply(data, corpus),
            Self::Number(at, which) => {
                let start = place(at, data);
                let digits = |from: &[u8]| from.iter().take_while(|b| b.is_ascii_digit()).count();
                let Some(skip) = data[start..].iter().position(u8::is_ascii_digit) else { return };
                let range = start + skip..start + skip + digits(&data[start + skip..]);
                data.splice(range, ODD_NUMBERS[*which].to_string().into_bytes());
            }
            Self::Word(at, which, over) => {
                let word = word_at(data, place(at, data));
                let range = if *over { word } else { word.start..word.start };
                data.splice(range, WORDS[*which].bytes());
            }
            Self::Borrow(at, which, from) => {
                let (word, other) = (word_at(data, place(at, data)), other(which));
                let borrowed = other[word_at(other, place(from, other))].to_vec();
                data.splice(word, borrowed);
            }
            Self::DropLine(at) => {
                let line = line_at(data, place(at, data));
                data.drain(line);
            }
            Self::RepeatLine(from, to) => {
                let line = data[line_at(data, place(from, data))].to_vec();
                let to = line_at(data, place(to, data)).start;
                data.splice(to..to, line);
            }
            Self::BorrowLine(at, which, from) => {
                let other = other(which);
                let line = other[line_at(other, place(from, other))].to_vec();
                let at = line_at(data, place(at, data)).start;
                data.splice(at..at, line);
            }
        }
    }
}

/// The letters, digits, dots and signs around a place; nothing where another character is.
fn word_at(data: &[u8], at: usize) -> Range<usize> {
    let inner = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'/');
    let before = data[..at].iter().rev().take_while(inner).count();
    let after = data[at..].iter().take_while(inner).count();
    at - before..at + after
}

/// The line around a place, with its end.
fn line_at(data: &[u8], at: usize) -> Range<usize> {
    let start = data[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let end = data[at..].iter().position(|b| *b == b'\n').map_or(data.len(), |end| at + end + 1);
    start..end
}
