//! The folder that a new crate is written into, all of it or nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{Failure, runs, shell};

pub(super) struct Folder {
    path: PathBuf,
    /// It is there and empty.
    is_there: bool,
}

impl Folder {
    /// The folder of a name or path, which must be empty if it is there.
    ///
    /// # Errors
    /// Where something is in it, or it can't be looked into.
    pub(super) fn find(name: &str) -> Result<Self> {
        if name.contains("://") {
            return Err(Failure::usage(format!("{name} is no folder of this machine"))
                .note("fix", "name the crate, or a path to its folder")
                .into());
        }
        let path = PathBuf::from(runs::absolute(name)?);
        let is_there = match fs::read_dir(&path) {
            Ok(mut entries) => match entries.next() {
                None => true,
                Some(_) => return Err(occupied(&path, "is not empty")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&path).is_err() => {
                false
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(error).with_context(|| format!("can't look into {}", path.display()));
            }
            Err(_) => return Err(occupied(&path, "is there and no folder")),
        };
        Ok(Self { path, is_there })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the files, each with its path in the folder: first beside it, so that a failure leaves nothing behind.
    ///
    /// # Errors
    /// Where they can't be written.
    pub(super) fn fill(&self, files: &[(&str, Vec<u8>)]) -> Result<()> {
        self.try_to_fill(files).with_context(|| format!("can't write the crate {}", self.path.display()))
    }

    fn try_to_fill(&self, files: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
        let name = format!(".new-crate-{}", std::process::id());
        let staging = Staging(match self.is_there {
            true => self.path.join(name),
            false => self.path.with_file_name(name),
        });
        for (path, content) in files {
            let path = staging.0.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        if !self.is_there {
            return fs::rename(&staging.0, &self.path);
        }
        // It may be a shell's current folder, so it stays the same one.
        for entry in fs::read_dir(&staging.0)? {
            let entry = entry?;
            fs::rename(entry.path(), self.path.join(entry.file_name()))?;
        }
        Ok(())
    }
}

fn occupied(path: &Path, how: &str) -> anyhow::Error {
    Failure::usage(format!("{} {how}", path.display()))
        .note("fix", "take another name, or move it away:")
        .note("", format!("mv {0} {0}.old", shell::quote(&path.to_string_lossy())))
        .into()
}

/// What is not finished; it goes when it is dropped.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // After a success it is moved or empty; after a failure the error that is told says more than a second one.
        let _ = fs::remove_dir_all(&self.0);
    }
}
