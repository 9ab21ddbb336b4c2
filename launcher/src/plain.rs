//! Text from elsewhere, made safe for a terminal: no job, worker or cluster moves the cursor, changes the title or hides a line.

use std::borrow::Cow;
use std::fmt::Write;

/// The text without colours and other sequences for terminals; what control characters are left is shown, not obeyed.
/// Line ends and tabs stay.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let stripped = console::strip_ansi_codes(text);
    let mut shown = String::with_capacity(stripped.len());
    for c in stripped.chars() {
        match is_unsafe(c) {
            // Writing to a string can't fail.
            true => drop(write!(shown, "{}", c.escape_unicode())),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same in one line.
pub(crate) fn plain_line(text: &str) -> Cow<'_, str> {
    match plain(text) {
        text if text.contains(['\n', '\t']) => Cow::Owned(text.replace('\n', "\\n").replace('\t', "    ")),
        text => text,
    }
}

fn is_unsafe(c: char) -> bool {
    let turns_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || turns_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_gets_through() {
        for (text, expected) in [
            ("loss 0.3, änderung 你好\tx\ny", "loss 0.3, änderung 你好\tx\ny"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}[2Jb\u{1b}[1;1Hc", "abc"),
            ("10%\r100%", "10%\\u{d}100%"),
            ("bell\u{7} back\u{8} del\u{7f} c1\u{9b}", "bell\\u{7} back\\u{8} del\\u{7f} c1\\u{9b}"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
        ] {
            let shown = plain(text);
            assert_eq!(shown, expected, "{text:?}");
            assert!(!shown.contains(is_unsafe));
        }
        assert_eq!(plain_line("a\nb\tc"), "a\\nb    c");
    }
}
