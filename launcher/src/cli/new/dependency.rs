//! Where a new crate takes lockstep-trainer from.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{Failure, runs, shell};

/// The published commit that this command was built from, as `URL#REVISION`; see build.rs.
const BUILT_FROM: Option<&str> = option_env!("LOCKSTEP_BUILT_FROM");

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dependency {
    /// The checkout's folder.
    Checkout(String),
    Repository {
        url: String,
        revision: Option<String>,
    },
}

impl Dependency {
    /// What was asked for, else what this command was built from: a published commit, or the checkout that it lies in.
    ///
    /// # Errors
    /// Where that is no checkout of Lockstep, or nobody knows one.
    pub(super) fn choose(asked: Option<&str>, name: &str) -> Result<Self> {
        let program = std::env::current_exe().unwrap_or_default();
        Self::of(asked, BUILT_FROM, &program, name)
    }

    fn of(asked: Option<&str>, built_from: Option<&str>, program: &Path, name: &str) -> Result<Self> {
        match (asked, built_from) {
            (Some(url), _) if url.contains("://") => Ok(Self::repository(url, built_from)),
            (Some(path), _) => Self::checkout(path),
            (None, Some(built_from)) => Ok(Self::repository(built_from, None)),
            (None, None) => match program.ancestors().find(|folder| is_checkout(folder)) {
                Some(folder) => Self::checkout(&folder.to_string_lossy()),
                None => Err(Failure::usage("this lockstep doesn't know which repository it was built from")
                    .note("fix", "say where its checkout is, or the URL of the repository:")
                    .note("", format!("lockstep new {} --lockstep PATH", shell::quote(name)))
                    .into()),
            },
        }
    }

    /// `URL#REVISION`; without a revision that of this command, so that launcher, agent and worker are of one version.
    fn repository(url: &str, built_from: Option<&str>) -> Self {
        let ours = built_from.and_then(|built_from| built_from.rsplit_once('#'));
        let (url, given) = url.rsplit_once('#').unwrap_or((url, ""));
        let revision = Some(given).filter(|given| !given.is_empty()).or(ours.map(|(_, revision)| revision));
        Self::Repository { url: url.to_owned(), revision: revision.map(str::to_owned) }
    }

    fn checkout(path: &str) -> Result<Self> {
        let path = runs::absolute(path)?;
        if is_checkout(&PathBuf::from(&path)) {
            return Ok(Self::Checkout(path));
        }
        Err(Failure::usage(format!("{path} is no checkout of Lockstep: it has no trainer/Cargo.toml"))
            .note("fix", "name the folder that holds Lockstep's README.md with --lockstep, or a URL")
            .into())
    }

    /// What stands behind `lockstep-trainer =` in a manifest.
    pub(super) fn in_manifest(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        match self {
            Self::Checkout(path) => format!("{{ path = {} }}", quoted(&format!("{path}/trainer"))),
            Self::Repository { url, revision: None } => format!("{{ git = {} }}", quoted(url)),
            Self::Repository { url, revision: Some(revision) } => {
                format!("{{ git = {}, rev = {} }}", quoted(url), quoted(revision))
            }
        }
    }
}

fn is_checkout(folder: &Path) -> bool {
    ["trainer/Cargo.toml", "launcher/Cargo.toml"].iter().all(|file| folder.join(file).is_file())
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkout(path) => write!(f, "lockstep-trainer from {path}"),
            Self::Repository { url, revision: None } => write!(f, "lockstep-trainer from {url}"),
            Self::Repository { url, revision: Some(revision) } => {
                write!(f, "lockstep-trainer from {url} at {revision}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "https://example.org/lockstep.git#0123abc";

    fn manifest(asked: Option<&str>, built_from: Option<&str>) -> String {
        Dependency::of(asked, built_from, Path::new("/usr/bin/lockstep"), "a").unwrap().in_manifest()
    }

    #[test]
    fn what_was_built_from_is_the_default() {
        let released = r#"{ git = "https://example.org/lockstep.git", rev = "0123abc" }"#;
        assert_eq!(manifest(None, Some(RELEASE)), released);
        let (mirror, fork) = ("https://mirror.example.org/a.git", "ssh://git@example.org/b.git#main");
        assert_eq!(
            manifest(Some(mirror), Some(RELEASE)),
            format!("{{ git = {mirror:?}, rev = \"0123abc\" }}")
        );
        assert_eq!(manifest(Some(mirror), None), format!("{{ git = {mirror:?} }}"));
        assert_eq!(
            manifest(Some(&format!("{mirror}#")), Some(RELEASE)),
            manifest(Some(mirror), Some(RELEASE))
        );
        assert_eq!(
            manifest(Some(fork), Some(RELEASE)),
            r#"{ git = "ssh://git@example.org/b.git", rev = "main" }"#
        );
    }

    #[test]
    fn a_program_in_its_checkout_knows_where_that_is() {
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let here = Path::new(&package).parent().unwrap();
        let program = here.join("target/dist/lockstep");
        let found = Dependency::of(None, None, &program, "a").unwrap();
        assert_eq!(found, Dependency::Checkout(here.to_str().unwrap().to_owned()));
    }

    #[test]
    fn a_program_from_nowhere_says_what_to_pass() {
        let said =
            Dependency::of(None, None, Path::new("/usr/bin/lockstep"), "my a").unwrap_err().to_string();
        assert!(said.contains("lockstep new 'my a' --lockstep PATH"), "{said}");
    }
}
