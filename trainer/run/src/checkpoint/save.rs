use super::{hash_file, state_hash};
use crate::layout;
use crate::{Commit, CommitRef, Error, Generation, Provenance, Result, RunDir, Sealed, Slice, Step, Writer};
use bytes::Bytes;
use jiff::Timestamp;
use lockstep_storage::Created;
use std::collections::BTreeMap;

/// One attempt to write a checkpoint. Its folder is its own, so a half-written one is never in anybody's way.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The step whose state it holds.
    pub step: Step,
    /// The generation of the writer.
    pub generation: Generation,
    /// Counts the writer's attempts at this step.
    pub attempt: u32,
    /// The checkpoint before, if any.
    pub parent: Option<CommitRef>,
    /// Number of ranks that hold this state.
    pub world_size: u32,
    /// The process that writes.
    pub writer: Writer,
    /// What the state was made from, where and by what.
    pub provenance: Provenance,
}

impl RunDir {
    /// Writes the files, reads their sizes back, and commits.
    ///
    /// # Errors
    /// [`Error::Fenced`] where a newer generation exists: nothing was committed. [`Error::ForeignCommit`] where another
    /// process committed this very step and generation, or this one another state; where this process committed this very
    /// state in an earlier try whose answer was lost, that commit is returned. Storage errors otherwise; the attempt's files then stay behind
    /// without a record, which makes them nothing.
    pub async fn save_checkpoint(&self, draft: Draft, files: BTreeMap<String, Bytes>) -> Result<Commit> {
        let folder = layout::checkpoint(draft.step, draft.generation, draft.writer.nonce, draft.attempt);
        let mut entries = BTreeMap::new();
        for (name, body) in files {
            let path = format!("{folder}/{name}");
            let entry = hash_file(&body);
            self.storage().put(&path, body).await?;
            let found = self.storage().head(&path).await?.bytes;
            if found != entry.bytes {
                let problem = format!(
                    "{name} was written with {} bytes, but {} has {found}",
                    entry.bytes,
                    self.uri(&path)
                );
                return Err(Error::BadCheckpoint { step: draft.step, generation: draft.generation, problem });
            }
            entries.insert(name, entry);
        }
        if let Some(newer) = self.newest_since(draft.generation).await? {
            return Err(Error::Fenced { ours: draft.generation, newest: newer.generation });
        }
        self.commit(draft, folder, entries).await
    }

    async fn commit(
        &self,
        draft: Draft,
        folder: String,
        files: BTreeMap<String, crate::FileEntry>,
    ) -> Result<Commit> {
        let path = layout::commit(draft.step, draft.generation);
        let commit = Commit {
            step: draft.step,
            generation: draft.generation,
            folder,
            parent: draft.parent,
            state_hash: state_hash(&files),
            slices: files.iter().map(|(name, entry)| whole(name, entry)).collect(),
            files,
            world_size: draft.world_size,
            writers: vec![draft.writer.clone()],
            provenance: draft.provenance,
            at: Timestamp::now(),
        };
        match self.storage().create(&path, Sealed::seal(&commit)?.into()).await? {
            Created::Ours => Ok(commit),
            Created::Theirs(body) => {
                let found = Sealed::open(&self.uri(&path), &body)?;
                if found.writers == commit.writers && found.state_hash == commit.state_hash {
                    return Ok(found);
                }
                let theirs = found.writers.into_iter().next().unwrap_or_else(|| draft.writer.clone());
                Err(Error::ForeignCommit { uri: self.uri(&path), ours: draft.writer, theirs })
            }
        }
    }

    /// Deletes a checkpoint and every other attempt at it: the record goes first, so that no reader ever finds one without its files.
    ///
    /// # Errors
    /// [`Error::Storage`]. That it is gone already is none.
    pub async fn delete_checkpoint(&self, checkpoint: CommitRef) -> Result<()> {
        let path = layout::commit(checkpoint.step, checkpoint.generation);
        self.storage().delete(&path).await?;
        let prefix = format!("{}/{:010}-{}-", layout::CHECKPOINTS, checkpoint.step, checkpoint.generation);
        for meta in self.storage().list(layout::CHECKPOINTS).await? {
            if meta.path.starts_with(&prefix) {
                self.storage().delete(&meta.path).await?;
            }
        }
        Ok(())
    }
}

fn whole(name: &str, entry: &crate::FileEntry) -> Slice {
    Slice { file: name.to_owned(), from: 0, bytes: entry.bytes, writer: 0 }
}
