use std::fs;
use std::path::Path;

/// The inputs in a folder, sorted by name.
pub fn corpus(folder: impl AsRef<Path>) -> Vec<Vec<u8>> {
    let folder = folder.as_ref();
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Checks that a corpus holds what is written today, by the names of files; with `LOCKSTEP_REFRESH` it is written there.
pub fn current(folder: impl AsRef<Path>, written: &[(&str, Vec<u8>)], refresh: &str) {
    let folder = folder.as_ref();
    for (name, bytes) in written {
        let path = folder.join(name);
        if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
            fs::create_dir_all(folder).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let there = fs::read(&path).unwrap_or_default();
        assert!(there == *bytes, "{} is out of date; refresh it with: {refresh}", path.display());
    }
}
