//! Commit records: sealed ones as they lie there, and ones whose content was changed and sealed again.

use crate::samples::{self, CHECKPOINT};
use crate::support::{Waiter, corpus, current};
use lockstep_fuzzing::fuzz_text;
use lockstep_run::checkpoint::state_hash;
use lockstep_run::{Commit, Provenance, Sealed, layout};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A sealed record, read without asking whether its hash is right.
#[derive(Deserialize)]
struct Envelope<'a> {
    blake3: String,
    #[serde(borrow)]
    commit: &'a RawValue,
}

/// What is under the seal; all of it where there is none.
fn content(sealed: &[u8]) -> Vec<u8> {
    let envelope = serde_json::from_slice::<Envelope<'_>>(sealed);
    envelope.map_or_else(|_| sealed.to_vec(), |envelope| envelope.commit.get().as_bytes().to_vec())
}

fn seal(content: &[u8]) -> Vec<u8> {
    let blake3 = blake3::hash(content).to_hex();
    [format!("{{\"blake3\":\"{blake3}\",\"commit\":").as_bytes(), content, b"}"].concat()
}

/// It opens for its hash alone, and what it says stays the same when it is sealed again.
fn open(sealed: &[u8]) -> Option<Commit> {
    let commit = Sealed::open("commit", sealed).ok()?;
    let envelope: Envelope<'_> = serde_json::from_slice(sealed).unwrap();
    assert_eq!(envelope.blake3, *blake3::hash(envelope.commit.get().as_bytes()).to_hex());
    let again = Sealed::seal(&commit).unwrap();
    let reopened = Sealed::open("commit", &again).unwrap();
    // Numbers that equal nothing, not even themselves, are compared by what is written.
    assert_eq!(Sealed::seal(&reopened).unwrap(), again);
    if !commit.provenance.evaluation.iter().any(|e| e.results.values().any(|v| v.is_nan())) {
        assert_eq!(reopened, commit);
    }
    let _ = commit.num_bytes();
    Some(commit)
}

#[test]
fn sealed() {
    let whole = Sealed::seal(&samples::commit(samples::provenance())).unwrap();
    let bare = Sealed::seal(&samples::commit(Provenance::default())).unwrap();
    current("commit", &[("current", whole), ("bare", bare)]);
    fuzz_text("commit", &corpus("commit", &["commits"]), |data| {
        open(data);
    });
}

#[test]
fn sealed_again() {
    let waiter = Waiter::new();
    let contents: Vec<_> = corpus("commit", &["commits"]).iter().map(|sealed| content(sealed)).collect();
    fuzz_text("commit-content", &contents, |data| {
        let Some(mut commit) = open(&seal(data)) else { return };
        // Under the name that it says, it is read or refused, and so are files that aren't there.
        commit.state_hash = state_hash(&commit.files);
        let path = layout::commit(commit.step, commit.generation);
        let dir = waiter.dir_with(&path, &Sealed::seal(&commit).unwrap());
        assert!(waiter.wait(dir.read_commit(commit.as_ref())).is_ok());
        let verdict = waiter.wait(dir.verify_checkpoint(commit.as_ref())).unwrap();
        assert_eq!(verdict.problems.len(), commit.files.len(), "{:?}", verdict.problems);
        assert!(waiter.wait(dir.read_commit(CHECKPOINT)).is_ok() == (commit.as_ref() == CHECKPOINT));
        if !commit.files.is_empty() {
            assert!(waiter.wait(dir.load_checkpoint(commit.as_ref())).is_err());
        }
    });
}
