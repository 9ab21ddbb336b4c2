//! Who launches, and from which commit: it goes into every checkpoint, since nobody could find it out later.

use crate::environment::variable;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Git on a large or distant tree may take long; then it isn't waited for.
const GIT_DEADLINE: Duration = Duration::from_secs(1);

/// Where a launch is from, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// `user@host`.
    pub(crate) launched_by: Option<String>,
    /// The commit that is checked out around the job file.
    pub(crate) git_commit: Option<String>,
    /// Whether tracked files differ from it.
    pub(crate) git_dirty: Option<bool>,
}

impl Origin {
    /// Of this user, and of the checkout that `folder` lies in, if it lies in one.
    pub(crate) async fn of(folder: &Path) -> Self {
        let git_commit = git(folder, &["rev-parse", "HEAD"]).await.filter(|commit| !commit.is_empty());
        let git_dirty = match &git_commit {
            Some(_) => git(folder, &["status", "--porcelain", "--untracked-files=no"]).await,
            None => None,
        };
        Self { launched_by: user(), git_commit, git_dirty: git_dirty.map(|changes| !changes.is_empty()) }
    }

    /// As arguments of an agent.
    pub(super) fn arguments(&self) -> Vec<String> {
        let by = self.launched_by.iter().flat_map(|by| ["--launched-by".to_owned(), by.clone()]);
        let commit = self.git_commit.iter().flat_map(|commit| ["--git-commit".to_owned(), commit.clone()]);
        let dirty = self.git_dirty.iter().flat_map(|dirty| ["--git-dirty".to_owned(), dirty.to_string()]);
        by.chain(commit).chain(dirty).collect()
    }
}

/// `user@host` of this process, as far as the environment tells.
pub(crate) fn user() -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    variable("USER").map(|user| format!("{user}@{}", host.trim()))
}

/// What git says; none where it isn't there, takes too long, or refuses.
async fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(words).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = timeout(GIT_DEADLINE, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
