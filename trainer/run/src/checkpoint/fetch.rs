use super::{Lineage, Next, hash_file, state_hash};
use crate::dir::MAX_RECORD_BYTES;
use crate::layout;
use crate::{Commit, CommitRef, Error, FileEntry, Generation, Result, RunDir, Sealed};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A checkpoint whose every byte was checked.
#[derive(Debug)]
pub struct Loaded {
    /// Its record.
    pub commit: Commit,
    /// Its files by name.
    pub files: BTreeMap<String, Bytes>,
    /// Newer ones that could not be used, with the reason of each.
    pub passed: Vec<Passed>,
}

/// A checkpoint that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which one.
    pub checkpoint: CommitRef,
    /// Which file, what was expected, what was found.
    pub problem: String,
}

/// What a full check of one checkpoint found.
#[derive(Debug)]
pub struct Verdict {
    /// Which one.
    pub checkpoint: CommitRef,
    /// Its record, where that is readable.
    pub commit: Option<Commit>,
    /// All that is wrong; empty for a good one.
    pub problems: Vec<String>,
}

impl RunDir {
    /// All commits of the run, in whatever lineage.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn commits(&self) -> Result<BTreeSet<CommitRef>> {
        let list = self.storage().list(layout::COMMITS).await?;
        let parsed = list.iter().filter_map(|m| layout::parse_commit(&m.path));
        Ok(parsed.map(|(step, generation)| CommitRef { generation, step }).collect())
    }

    /// The commits that generation `from` may load, best first.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn lineage(&self, from: Generation) -> Result<Vec<CommitRef>> {
        self.lineage_until(from, |_| false).await
    }

    /// As [`lineage`](Self::lineage), up to the first that is `enough`, and that one: few requests where an early one is.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn lineage_until(
        &self,
        from: Generation,
        mut enough: impl FnMut(&CommitRef) -> bool,
    ) -> Result<Vec<CommitRef>> {
        let mut lineage = Lineage::new(self.commits().await?, from);
        let mut found = Vec::new();
        while let Some(checkpoint) = self.next_of(&mut lineage).await? {
            found.push(checkpoint);
            if enough(&checkpoint) {
                break;
            }
        }
        Ok(found)
    }

    async fn next_of(&self, lineage: &mut Lineage) -> Result<Option<CommitRef>> {
        loop {
            match lineage.next_step() {
                Next::Checkpoint(checkpoint) => return Ok(Some(checkpoint)),
                Next::Record(generation) => lineage.take(self.membership(generation).await?.as_ref()),
                Next::End => return Ok(None),
            }
        }
    }

    /// Reads a commit record and checks its own hash.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn read_commit(&self, checkpoint: CommitRef) -> Result<Commit> {
        let path = layout::commit(checkpoint.step, checkpoint.generation);
        let body = self.storage().get_at_most(&path, MAX_RECORD_BYTES).await?;
        let commit = Sealed::open(&self.uri(&path), &body)?;
        if commit.as_ref() != checkpoint || state_hash(&commit.files) != commit.state_hash {
            let reason = "it names another checkpoint or its state hash is not that of its files".to_owned();
            return Err(Error::BadRecord { uri: self.uri(&path), what: "commit record", reason });
        }
        Ok(commit)
    }

    /// Loads the checkpoint that a generation's record names, whole and verified, or the best before it in its lineage where
    /// that one is damaged.
    ///
    /// # Errors
    /// [`Error::NoGoodCheckpoint`] where each is damaged: starting over is the user's decision.
    pub async fn load_checkpoint(&self, chosen: CommitRef) -> Result<Loaded> {
        let mut passed = Vec::new();
        let (mut next, mut before) = (Some(chosen), None);
        while let Some(checkpoint) = next {
            match self.fetch(checkpoint).await {
                Ok((commit, files)) => return Ok(Loaded { commit, files, passed }),
                Err(Error::Storage(e)) if !is_damage(&e) => return Err(e.into()),
                // Not damaged: somebody else can read it, and an older one in its place would lose their steps.
                Err(e @ Error::Format { .. }) => return Err(e),
                Err(e) => passed.push(Passed { checkpoint, problem: e.to_string() }),
            }
            let lineage = match &mut before {
                Some(lineage) => lineage,
                None => before.insert(Lineage::before(self.commits().await?, chosen)),
            };
            next = self.next_of(lineage).await?;
        }
        let newest = passed.first().map(|passed| passed.problem.clone()).unwrap_or_default();
        Err(Error::NoGoodCheckpoint { count: passed.len(), newest })
    }

    /// Loads one checkpoint, whole and verified.
    ///
    /// # Errors
    /// [`Error::Storage`], and [`Error::BadCheckpoint`] where size or bytes aren't those of the commit record.
    pub async fn fetch(&self, checkpoint: CommitRef) -> Result<(Commit, BTreeMap<String, Bytes>)> {
        let commit = self.read_commit(checkpoint).await?;
        let mut files = BTreeMap::new();
        for name in commit.files.keys() {
            files.insert(name.clone(), self.fetch_whole(&commit, name).await?);
        }
        Ok((commit, files))
    }

    /// One file of a checkpoint, whole and verified.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] where it is gone or damaged, and those of a read, see [`RunDir`].
    pub async fn fetch_verified(&self, checkpoint: CommitRef, name: &str) -> Result<Bytes> {
        self.fetch_whole(&self.read_commit(checkpoint).await?, name).await
    }

    async fn fetch_whole(&self, commit: &Commit, name: &str) -> Result<Bytes> {
        let (step, generation) = (commit.step, commit.generation);
        let bad = |problem| Error::BadCheckpoint { step, generation, problem };
        let expected = commit.files.get(name);
        let expected = expected.ok_or_else(|| bad(format!("its commit record does not name {name}")))?;
        let body = self.fetch_file(commit, name).await?;
        compare(name, expected, &hash_file(&body)).map_err(bad)?;
        Ok(body)
    }

    /// Checks every byte of one checkpoint and says all that is wrong with it.
    ///
    /// # Errors
    /// Only where the store can't be read; damage is in the verdict.
    pub async fn verify_checkpoint(&self, checkpoint: CommitRef) -> Result<Verdict> {
        let commit = match self.read_commit(checkpoint).await {
            Ok(commit) => commit,
            Err(Error::Storage(e)) if !is_damage(&e) => return Err(e.into()),
            Err(e) => return Ok(Verdict { checkpoint, commit: None, problems: vec![e.to_string()] }),
        };
        let mut problems = Vec::new();
        for (name, expected) in &commit.files {
            match self.fetch_file(&commit, name).await {
                Ok(body) => problems.extend(compare(name, expected, &hash_file(&body)).err()),
                Err(Error::Storage(e)) => return Err(e.into()),
                Err(e) => problems.push(e.to_string()),
            }
        }
        Ok(Verdict { checkpoint, commit: Some(commit), problems })
    }

    /// Reads a file whose size is what the commit record says; one of another size is damaged, and not read: it could be
    /// larger than the memory.
    async fn fetch_file(&self, commit: &Commit, name: &str) -> Result<Bytes> {
        let path = format!("{}/{name}", commit.folder);
        let bad =
            |problem| Error::BadCheckpoint { step: commit.step, generation: commit.generation, problem };
        let unreadable = |e: lockstep_storage::Error| match e {
            lockstep_storage::Error::NotFound { .. } => {
                bad(format!("{name} is missing at {}", self.uri(&path)))
            }
            lockstep_storage::Error::BadPath { reason, .. } => {
                bad(format!("{path:?} is not a valid path for a checkpoint's file: {reason}"))
            }
            other => other.into(),
        };
        let Some(expected) = commit.files.get(name).map(|file| file.bytes) else {
            return Err(bad(format!("its commit record does not name {name}")));
        };
        let found = self.storage().head(&path).await.map_err(unreadable)?.bytes;
        if found != expected {
            return Err(bad(size_differs(name, found, expected)));
        }
        self.storage().get_at_most(&path, expected).await.map_err(unreadable)
    }
}

fn compare(name: &str, expected: &FileEntry, found: &FileEntry) -> Result<(), String> {
    if expected.bytes != found.bytes {
        return Err(size_differs(name, found.bytes, expected.bytes));
    }
    if expected == found {
        return Ok(());
    }
    let part = expected.parts.iter().zip(&found.parts).position(|(a, b)| a != b).unwrap_or(0);
    let short = |hash: &str| hash.chars().take(8).collect::<String>();
    Err(format!(
        "{name} has blake3 {}…, but its commit record says {}… (first difference in part {part})",
        short(&found.blake3),
        short(&expected.blake3)
    ))
}

fn size_differs(name: &str, found: u64, expected: u64) -> String {
    format!("{name} has {found} bytes, but its commit record says {expected}")
}

/// Whether it is what lies there that is wrong, and not the store.
fn is_damage(error: &lockstep_storage::Error) -> bool {
    error.is_not_found() || matches!(error, lockstep_storage::Error::TooLarge { .. })
}
