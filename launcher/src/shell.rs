//! Commands in messages, so that they can be pasted into a shell.

use std::borrow::Cow;

/// One word as a shell reads it back.
pub(crate) fn quote(word: &str) -> Cow<'_, str> {
    // Only a NUL can't be quoted, and no argument has one.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// A command of these words.
pub(crate) fn join<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quote(word.as_ref()).into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_same_words_back() {
        let words = [
            "lockstep",
            "-f",
            "my job.yaml",
            "it's",
            "$HOME",
            "a\"b",
            "",
            "*",
            "ä;rm",
            "a\nb",
            "--",
            "x=[1, 2]",
        ];
        let script = format!("printf '%s\\0' {}", join(words));
        for shell in ["sh", "bash"] {
            let output = std::process::Command::new(shell).args(["-c", &script]).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            assert_eq!(read.strip_suffix('\0').unwrap().split('\0').collect::<Vec<_>>(), words, "{script}");
        }
    }
}
