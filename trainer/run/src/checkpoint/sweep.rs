use crate::layout::{self, Attempt};
use crate::{Commit, CommitRef, Result, RunDir};
use std::collections::{BTreeMap, BTreeSet};

/// Whether an attempt that no commit record names can't become a checkpoint any more: its generation is over, or its writer,
/// which has just committed `newest`, has got beyond it.
pub fn is_leftover(attempt: Attempt, newest: &Commit) -> bool {
    if attempt.generation != newest.generation {
        return attempt.generation < newest.generation;
    }
    let ours = newest.writers.iter().any(|writer| Some(writer.nonce) == attempt.nonce);
    ours && attempt.step <= newest.step
}

impl RunDir {
    /// Deletes the files of attempts that were never committed and never will be. For the writer of `newest`, which has just
    /// been committed and is not fenced.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage).
    pub async fn sweep_attempts(&self, newest: &Commit) -> Result<()> {
        let mut folders: BTreeMap<String, (Attempt, Vec<String>)> = BTreeMap::new();
        for meta in self.storage().list(layout::CHECKPOINTS).await? {
            if let Some((folder, attempt)) = layout::parse_checkpoint(&meta.path)
                && folder != newest.folder
                && is_leftover(attempt, newest)
            {
                folders.entry(folder.to_owned()).or_insert((attempt, vec![])).1.push(meta.path);
            }
        }
        let commits = if folders.is_empty() { BTreeSet::new() } else { self.commits().await? };
        for (folder, (attempt, paths)) in folders {
            let checkpoint = CommitRef { generation: attempt.generation, step: attempt.step };
            if commits.contains(&checkpoint) && !self.is_another(checkpoint, &folder).await {
                continue;
            }
            for path in paths {
                self.storage().delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Whether a checkpoint is known to lie in another folder; one whose record can't be read is left alone.
    async fn is_another(&self, checkpoint: CommitRef, folder: &str) -> bool {
        self.read_commit(checkpoint).await.is_ok_and(|commit| commit.folder != folder)
    }
}
