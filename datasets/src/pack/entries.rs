use super::input::open_input;
use crate::{Error, Result};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// No picture and no file of records comes near.
const MOST_BYTES: u64 = 1 << 30;

/// Files to pack: those below a folder, those of a tar archive, gzipped or not, or one alone.
#[derive(Debug)]
pub(super) struct Entries {
    root: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Paths below the root, in order.
    Folder(Vec<String>),
    Archive,
    File,
}

impl Entries {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let found = fs::metadata(root).map_err(Error::io("read", root))?;
        let kind = if found.is_dir() {
            let mut files = Vec::new();
            walk(root, "", &mut files)?;
            files.sort_unstable();
            Kind::Folder(files)
        } else if !found.is_file() {
            let error = io::Error::new(ErrorKind::InvalidInput, "it is neither a folder nor a regular file");
            return Err(Error::io("read", root)(error));
        } else if is_archive(root) {
            Kind::Archive
        } else {
            Kind::File
        };
        Ok(Self { root: root.to_owned(), kind })
    }

    /// Whether it is a single file, which holds no folders for classes.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// The paths of all files, in an order that is the same each time.
    pub(super) fn paths(&self) -> Result<Vec<String>> {
        match &self.kind {
            Kind::File => Ok(vec![self.name()]),
            Kind::Folder(files) => Ok(files.clone()),
            Kind::Archive => {
                let mut paths = Vec::new();
                self.each_entry(|path, _| {
                    paths.push(path.to_owned());
                    Ok(())
                })?;
                Ok(paths)
            }
        }
    }

    /// Hands out path and content of the files that are `wanted`, in the order of [`paths`](Self::paths), unzipped.
    pub(super) fn each(
        &self,
        wanted: impl Fn(&str) -> bool,
        mut take: impl FnMut(&str, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        match &self.kind {
            Kind::File if wanted(&self.name()) => take(&self.name(), self.read(&self.root)?),
            Kind::File => Ok(()),
            Kind::Folder(files) => files
                .iter()
                .filter(|path| wanted(path))
                .try_for_each(|path| take(path, self.read(&self.root.join(path))?)),
            Kind::Archive => self.each_entry(|path, entry| match wanted(path) {
                true => take(path, bounded(entry, &self.root)?),
                false => Ok(()),
            }),
        }
    }

    fn each_entry(&self, mut take: impl FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
        let refused = |error| Error::io("read", &self.root)(error);
        let mut archive = tar::Archive::new(open_input(&self.root)?);
        for entry in archive.entries().map_err(refused)? {
            let mut entry = entry.map_err(refused)?;
            let path = entry.path().map_err(refused)?.to_string_lossy().into_owned();
            let name = path.trim_start_matches("./");
            let is_hidden = name.split('/').any(|part| part.starts_with('.'));
            if entry.header().entry_type().is_file() && !is_hidden {
                take(name, &mut entry)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.root.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        bounded(open_input(path)?, path)
    }
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

fn bounded(input: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = input.take(MOST_BYTES + 1).read_to_end(&mut content).map_err(Error::io("read", path))?;
    if read as u64 > MOST_BYTES {
        let error = io::Error::new(ErrorKind::InvalidData, "a file in it has more than 1 GiB");
        return Err(Error::io("read", path)(error));
    }
    Ok(content)
}

/// Files that begin with a dot are nobody's samples.
fn walk(folder: &Path, below: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let Ok(name) = entry.file_name().into_string() else {
            let error = io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8; rename it");
            return Err(Error::io("pack", entry.path())(error));
        };
        if name.starts_with('.') {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else if kind.is_file() || entry.path().is_file() {
            files.push(path);
        }
    }
    Ok(())
}
