use crate::process::heed_signals;
use crate::{Finished, Launched, Marker};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout. Cargo says where it is now, which needn't be where this was compiled: checkouts may share a target folder.
pub fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let inside = |path: &&Path| path.join("Cargo.lock").exists();
    Path::new(&package).ancestors().find(inside).map(Path::to_path_buf).unwrap_or_default()
}

/// One of the built binaries, to be started: it lies in the folder of this test's profile.
///
/// # Panics
/// Where it was not built.
pub fn binary(name: &str) -> PathBuf {
    heed_signals();
    let test = std::env::current_exe().unwrap_or_default();
    let path = test.parent().and_then(Path::parent).unwrap_or(Path::new("")).join(name);
    assert!(path.exists(), "{} is missing; `make test` builds it", path.display());
    path
}

/// A folder of its own to run in; gone with the value.
#[derive(Debug)]
pub struct Workspace {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Workspace {
    /// An empty folder with a cache of its own.
    #[expect(clippy::new_without_default, reason = "a folder on disk is no neutral value")]
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("lockstep-e2e-").tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache").to_string_lossy().into_owned();
        Self { folder, env: vec![("LOCKSTEP_CACHE".to_owned(), cache)] }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in it and returns its path.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        assert!(std::fs::write(&path, text).is_ok(), "can't write {}", path.display());
        path
    }

    /// Writes a file anew that may be there, and be read only.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn write_over(&self, name: &str, text: &str) {
        let _ = std::fs::remove_file(self.path(name));
        self.write(name, text);
    }

    /// A variable for every command that is run here.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts `lockstep` here with words split at blanks.
    pub fn start(&self, words: &str) -> Launched {
        self.start_in(&[], "lockstep", words)
    }

    /// Starts one of the binaries here below another command, such as `unshare`, which gets its path and words last.
    pub fn start_in(&self, around: &[&str], name: &str, words: &str) -> Launched {
        let marker = Marker::new();
        let binary = binary(name);
        let (program, more) = match around {
            [] => (binary.as_os_str(), None),
            [first, ..] => (OsStr::new(first), Some(binary.as_os_str())),
        };
        let mut command = Command::new(program);
        command.args(around.iter().skip(1)).args(more).args(words.split_whitespace());
        command.current_dir(self.folder.path()).envs(self.env.iter().cloned());
        command.env(marker.variable().0, marker.variable().1).env("OMP_NUM_THREADS", "1");
        Launched::spawn(command, marker)
    }

    /// Runs `lockstep` here to its end.
    pub fn run(&self, words: &str) -> Finished {
        self.start(words).finish()
    }

    /// The bytes of the newest model file of a run in a folder.
    ///
    /// # Panics
    /// Where it has none.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub fn model(&self, run: &str) -> Vec<u8> {
        let list = self.run(&format!("checkpoint list {run} --output json")).expect_code(0).json();
        let folder = list[0]["uri"].as_str().expect("a checkpoint").trim_start_matches("file://").to_owned();
        std::fs::read(Path::new(&folder).join("model.safetensors")).expect("a model file")
    }
}
