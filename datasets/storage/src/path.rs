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

/// Checks a path that is to be written: as [`check`], and no name in it may be one that listings pass over.
pub(crate) fn check_new(uri: &str, path: &str) -> Result<()> {
    check(uri, path)?;
    if path.split('/').any(is_foreign) {
        let reason = "a name in it is one that file managers, editors or file systems leave behind";
        return Err(Error::BadPath { uri: uri.to_owned(), path: path.to_owned(), reason });
    }
    Ok(())
}

/// Whether a name is not ours: what macOS, Windows, NFS, FUSE, NAS boxes and editors leave in any folder, and unfinished
/// files.
pub(crate) fn is_foreign(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        ".DS_Store",
        ".AppleDouble",
        ".Spotlight-V100",
        ".TemporaryItems",
        ".fseventsd",
        ".snapshot",
        "@eaDir",
        "Thumbs.db",
        "desktop.ini",
        "lost+found",
        "System Volume Information",
        ".ipynb_checkpoints",
    ];
    const STARTS: [&str; 9] =
        ["._", ".nfs", ".fuse_hidden", ".Trash", ".#", ".~", "~$", ".goutputstream-", TEMP_PREFIX];
    // Vim counts down from .swp.
    let swap =
        |name: &str| name.starts_with('.') && name.rsplit_once(".sw").is_some_and(|(_, end)| end.len() == 1);
    NAMES.contains(&name)
        || STARTS.iter().any(|start| name.starts_with(start))
        || name.ends_with('~')
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'))
        || swap(name)
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
    fn what_others_leave_is_told_from_what_we_write() {
        for name in [
            ".DS_Store",
            "._index.json",
            ".nfs000000000001",
            "index.json~",
            ".index.json.swp",
            "#index.json#",
            ".#index.json",
            "Thumbs.db",
            "lost+found",
            ".Trash-1000",
            "~$table.xlsx",
            ".~lock.table.ods#",
            ".tmp-1",
        ] {
            assert!(is_foreign(name), "{name}");
            assert!(check_new("root", &format!("a/{name}/b")).is_err(), "{name}");
        }
        for name in
            ["index.json", ".hidden", "shard.00000.mds", "a.swp", "~user", "#1", "#", "answer", "x.sword"]
        {
            assert!(!is_foreign(name), "{name}");
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
