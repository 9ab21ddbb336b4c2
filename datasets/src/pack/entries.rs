use super::input::{GZIP_MAGIC, open_input};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// No picture and no file of records comes near.
const MOST_BYTES: u64 = 1 << 30;

/// Files to pack: those below a folder, those of a tar archive, or one alone. Each can be read at any time.
#[derive(Debug)]
pub(super) struct Entries {
    root: PathBuf,
    paths: Vec<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder,
    /// Where each file begins, and its length. An archive that was gzipped lies unzipped in a file without a name.
    Archive(File, Vec<(u64, u64)>),
    File,
}

impl Entries {
    /// Lists the files, in an order that is the same each time.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let found = fs::metadata(root).map_err(Error::io("read", root))?;
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (paths, kind) = if found.is_dir() {
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            paths.sort_unstable();
            (paths, Kind::Folder)
        } else if is_archive(&name) {
            open_archive(root)?
        } else {
            (vec![name], Kind::File)
        };
        Ok(Self { root: root.to_owned(), paths, kind })
    }

    /// Whether it is a single file, which holds no folders for classes.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Paths of all files, below the folder or in the archive.
    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The content of the file with that place in [`paths`](Self::paths), unzipped.
    pub(super) fn read(&self, place: usize) -> Result<Vec<u8>> {
        let refused = |error| Error::io("read", &self.root)(error);
        match &self.kind {
            Kind::File => bounded(open_input(&self.root)?, &self.root),
            Kind::Folder => {
                let path = self.root.join(&self.paths[place]);
                bounded(open_input(&path)?, &path)
            }
            Kind::Archive(file, spans) => {
                let (begin, len) = spans[place];
                if len > MOST_BYTES {
                    return Err(refused(too_large()));
                }
                let mut content = vec![0; len as usize];
                file.read_exact_at(&mut content, begin).map_err(refused)?;
                match content.starts_with(&GZIP_MAGIC) {
                    true => bounded(MultiGzDecoder::new(content.as_slice()), &self.root),
                    false => Ok(content),
                }
            }
        }
    }
}

fn is_archive(name: &str) -> bool {
    let name = name.to_lowercase();
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

fn open_archive(root: &Path) -> Result<(Vec<String>, Kind)> {
    let refused = |error| Error::io("read", root)(error);
    let mut head = [0; 2];
    let file = File::open(root).map_err(refused)?;
    let is_gzipped = file.read_exact_at(&mut head, 0).is_ok() && head == GZIP_MAGIC;
    let file = if is_gzipped {
        // Pictures are read in an order of their own, and nobody can jump in a gzipped file.
        let unpacked = tempfile::tempfile().map_err(Error::io("unpack", root))?;
        io::copy(&mut open_input(root)?, &mut &unpacked).map_err(Error::io("unpack", root))?;
        unpacked
    } else {
        file
    };
    let (mut paths, mut spans) = (Vec::new(), Vec::new());
    let mut from_start = &file;
    io::Seek::rewind(&mut from_start).map_err(refused)?;
    let mut archive = tar::Archive::new(BufReader::new(from_start));
    for entry in archive.entries().map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let path = entry.path().map_err(refused)?.to_string_lossy().into_owned();
        let name = path.trim_start_matches("./");
        let is_hidden = name.split('/').any(|part| part.starts_with('.'));
        if entry.header().entry_type().is_file() && !is_hidden {
            paths.push(name.to_owned());
            spans.push((entry.raw_file_position(), entry.size()));
        }
    }
    drop(archive);
    Ok((paths, Kind::Archive(file, spans)))
}

fn bounded(input: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = input.take(MOST_BYTES + 1).read_to_end(&mut content).map_err(Error::io("read", path))?;
    if read as u64 > MOST_BYTES {
        return Err(Error::io("read", path)(too_large()));
    }
    Ok(content)
}

fn too_large() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a file in it has more than 1 GiB")
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
