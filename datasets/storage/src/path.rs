use crate::{Error, Result};

/// Names that start like this are unfinished files of the local implementation.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";

/// Checks a path relative to the root `uri`: `/`-separated plain names that every store can hold.
pub(crate) fn check(uri: &str, path: &str) -> Result<()> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.len() > 900 {
        "it is longer than 900 bytes"
    } else if path.chars().any(|c| c.is_control() || c == '\\') {
        "it has a control character or a backslash"
    } else if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
        "it has an empty name, `.` or `..`"
    } else if path.split('/').any(|name| name.starts_with(TEMP_PREFIX) || name.len() > 200) {
        "a name in it starts with `.tmp-` or is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(Error::BadPath { uri: uri.to_owned(), path: path.to_owned(), reason })
}

/// Checks a folder: as a path, or empty for the root. A trailing `/` is taken off.
pub(crate) fn check_folder<'a>(uri: &str, prefix: &'a str) -> Result<&'a str> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        check(uri, prefix)?;
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_pass() {
        for path in ["a", "run.json", "commits/0000000010.json", "a b/ü=1", ".hidden"] {
            check("root", path).unwrap();
        }
    }

    #[test]
    fn whatever_could_leave_the_root_is_refused() {
        for path in ["", "/a", "a/", "a//b", "..", "a/../../b", "./a", "a\\b", "a\nb", "x/.tmp-1"] {
            assert!(matches!(check("root", path), Err(Error::BadPath { .. })), "{path:?}");
        }
        assert!(check("root", &"n".repeat(201)).is_err());
    }
}
