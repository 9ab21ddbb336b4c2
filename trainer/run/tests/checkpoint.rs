//! The checkpoint protocol on real files: what is saved is read back, and no damage goes unseen.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use bytes::Bytes;
use lockstep_run::checkpoint::Draft;
use lockstep_run::{
    Body, CommitRef, Error, Generation, Incarnation, Membership, NodeId, Outcome, RunDir, RunUid, StartFrom,
    Step, Writer,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn writer(nonce: u64) -> Writer {
    Writer { node: NodeId(0), incarnation: Incarnation(1), nonce }
}

/// A checkpoint of the first generation.
fn at_step(step: u64) -> CommitRef {
    CommitRef { generation: Generation(1), step: Step(step) }
}

fn draft(step: u64, generation: u64, nonce: u64) -> Draft {
    let (step, generation) = (Step(step), Generation(generation));
    Draft {
        step,
        generation,
        attempt: 0,
        parent: None,
        world_size: 1,
        writer: writer(nonce),
        provenance: Default::default(),
    }
}

fn files(text: &str) -> BTreeMap<String, Bytes> {
    let file = |name: &str| (name.to_owned(), Bytes::from(format!("{name} {text}")));
    [file("model.safetensors"), file("state.json")].into()
}

fn record(generation: u64, body: Body) -> Membership {
    Membership {
        run_uid: RunUid("r".into()),
        generation: Generation(generation),
        writer: writer(1),
        launch: String::new(),
        launched_at: None,
        restarts: None,
        launch_restarts: 0,
        root: None,
        gpu_seconds: None,
        account: None,
        survivors: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        reason: String::new(),
        body,
    }
}

fn formed(generation: u64, start_from: StartFrom) -> Membership {
    let (members, leader, job) = (vec![], NodeId(0), serde_json::Value::Null);
    record(generation, Body::Formed { members, leader, start_from, job, restart: false })
}

async fn run_with(steps: &[u64]) -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::open(folder.path().to_str().unwrap()).unwrap();
    dir.propose(formed(1, StartFrom::Fresh)).await.unwrap();
    for step in steps {
        dir.save_checkpoint(draft(*step, 1, 1), files(&step.to_string())).await.unwrap();
    }
    (folder, dir)
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn any_flipped_byte_is_found_and_the_one_before_is_used() {
    let (folder, dir) = run_with(&[100, 200]).await;
    let newest = CommitRef { generation: Generation(1), step: Step(200) };
    assert!(dir.verify_checkpoint(newest).await.unwrap().problems.is_empty());
    let of_newest = |p: &PathBuf| p.to_str().unwrap().contains("0000000200-1");
    let mut paths = all_files(&folder.path().join("checkpoints"));
    paths.extend(all_files(&folder.path().join("commits")));
    let paths: Vec<_> = paths.into_iter().filter(of_newest).collect();
    assert_eq!(paths.len(), 3, "two files and a record: {paths:?}");
    for path in paths {
        let good = std::fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            let verdict = dir.verify_checkpoint(newest).await.unwrap();
            assert_eq!(verdict.problems.len(), 1, "byte {i} of {}", path.display());
        }
        let loaded = dir.load_checkpoint(newest).await.unwrap();
        assert_eq!(loaded.commit.step, Step(100), "{}", path.display());
        assert_eq!(loaded.passed[0].checkpoint, newest);
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(
            !dir.verify_checkpoint(newest).await.unwrap().problems.is_empty(),
            "truncated {}",
            path.display()
        );
        std::fs::write(&path, good).unwrap();
    }
    assert_eq!(dir.load_checkpoint(newest).await.unwrap().files, files("200"));
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (folder, dir) = run_with(&[100]).await;
    std::fs::remove_file(folder.path().join("checkpoints/0000000100-1-0000000000000001-0/state.json"))
        .unwrap();
    let error = dir.load_checkpoint(at_step(100)).await.unwrap_err();
    assert!(matches!(error, Error::NoGoodCheckpoint { count: 1, .. }), "{error}");
    assert!(error.to_string().contains("state.json is missing"), "{error}");
}

#[tokio::test]
async fn an_older_generation_commits_nothing() {
    let (_folder, dir) = run_with(&[]).await;
    let outcome = Outcome::Stopped { cause: "test".into(), for_good: true };
    dir.propose(record(2, Body::Ended { outcome, previous: Generation(1) })).await.unwrap();
    let error = dir.save_checkpoint(draft(5, 1, 1), files("x")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { ours: Generation(1), newest: Generation(2) }), "{error}");
    assert!(dir.commits().await.unwrap().is_empty());
}

#[tokio::test]
async fn two_writers_of_one_step_are_both_named_and_the_first_one_s_files_survive() {
    let (_folder, dir) = run_with(&[100]).await;
    let error = dir.save_checkpoint(draft(100, 1, 99), files("other")).await.unwrap_err();
    assert!(
        matches!(&error, Error::ForeignCommit { ours, theirs, .. } if (ours.nonce, theirs.nonce) == (99, 1)),
        "{error}"
    );
    assert_eq!(dir.load_checkpoint(at_step(100)).await.unwrap().files, files("100"));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_be_ours_by_the_next_try() {
    let (_folder, dir) = run_with(&[]).await;
    let landed = dir.save_checkpoint(draft(100, 1, 1), files("x")).await.unwrap();
    let again = Draft { attempt: 1, ..draft(100, 1, 1) };
    assert_eq!(dir.save_checkpoint(again.clone(), files("x")).await.unwrap(), landed);
    // The same writer with another state is a bug, not a retry.
    assert!(matches!(dir.save_checkpoint(again, files("y")).await, Err(Error::ForeignCommit { .. })));
}

#[tokio::test]
async fn attempts_that_never_became_checkpoints_are_swept() {
    let (folder, dir) = run_with(&[100]).await;
    let put = |path: &str| {
        let (dir, path) = (dir.clone(), path.to_owned());
        async move { dir.storage().put(&path, Bytes::from_static(b"half")).await.unwrap() }
    };
    let swept = [
        "checkpoints/0000000050-1-0000000000000001-0/model.safetensors",
        "checkpoints/0000000100-1-0000000000000007-0/model.safetensors",
        "checkpoints/0000000090-0-0/model.safetensors",
        "checkpoints/0000000200-2-0000000000000002-0/model.safetensors",
    ];
    let kept = [
        // Somebody else's of this generation: it may be committed yet, or be told of as another writer.
        "checkpoints/0000000200-2-0000000000000009-0/model.safetensors",
        "checkpoints/0000000400-3-0000000000000002-0/model.safetensors",
    ];
    for path in swept.into_iter().chain(kept) {
        put(path).await;
    }
    let foreign = folder.path().join("checkpoints/.DS_Store");
    std::fs::write(&foreign, "").unwrap();
    dir.propose(formed(2, StartFrom::Fresh)).await.unwrap();
    let newest = dir.save_checkpoint(draft(300, 2, 2), files("300")).await.unwrap();
    dir.sweep_attempts(&newest).await.unwrap();
    for path in swept {
        assert!(!folder.path().join(path).exists(), "{path}");
    }
    for path in kept {
        assert!(folder.path().join(path).exists(), "{path}");
    }
    assert!(foreign.exists());
    for checkpoint in dir.commits().await.unwrap() {
        assert!(dir.load_checkpoint(checkpoint).await.unwrap().passed.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_grew_is_damaged_and_not_read() {
    let (folder, dir) = run_with(&[100, 200]).await;
    let grown = folder.path().join("checkpoints/0000000200-1-0000000000000001-0/model.safetensors");
    // Sparse: reading it would take more memory than there is.
    std::fs::OpenOptions::new().write(true).open(grown).unwrap().set_len(1 << 40).unwrap();
    let loaded = dir.load_checkpoint(at_step(200)).await.unwrap();
    assert_eq!(loaded.commit.step, Step(100));
    assert!(loaded.passed[0].problem.contains("has 1099511627776 bytes"), "{:?}", loaded.passed);
}

#[tokio::test]
async fn a_commit_that_names_files_elsewhere_is_damaged() {
    let (_folder, dir) = run_with(&[100]).await;
    let mut commit = dir.read_commit(at_step(100)).await.unwrap();
    (commit.step, commit.folder) = (Step(200), "checkpoints/../..".to_owned());
    let body = lockstep_run::Sealed::seal(&commit).unwrap();
    dir.storage().put("commits/0000000200-1.json", body.into()).await.unwrap();
    let loaded = dir.load_checkpoint(at_step(200)).await.unwrap();
    assert_eq!((loaded.commit.step, loaded.passed.len()), (Step(100), 1), "{:?}", loaded.passed);
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_version_is_not_passed_over() {
    let (_folder, dir) = run_with(&[100]).await;
    let text = r#"{"format":7,"step":200}"#;
    let hash = blake3_of(text);
    let body = format!(r#"{{"blake3":"{hash}","commit":{text}}}"#);
    dir.storage().put("commits/0000000200-1.json", body.into()).await.unwrap();
    let error = dir.load_checkpoint(at_step(200)).await.unwrap_err();
    assert!(matches!(error, Error::Format { found: 7, .. }), "{error}");
}

fn blake3_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[tokio::test]
async fn of_racing_proposals_one_holds_for_all() {
    let (_folder, dir) = run_with(&[]).await;
    let proposals = (0..16u64).map(|nonce| {
        let (dir, mut record) = (dir.clone(), formed(2, StartFrom::Fresh));
        record.writer = writer(nonce);
        tokio::spawn(async move { dir.propose(record).await.unwrap().writer.nonce })
    });
    let held: Vec<u64> = futures::future::join_all(proposals).await.into_iter().map(Result::unwrap).collect();
    assert!(held.iter().all(|nonce| *nonce == held[0]), "{held:?}");
    assert_eq!(dir.newest_membership().await.unwrap().unwrap().writer.nonce, held[0]);
}

#[tokio::test]
async fn a_deleted_checkpoint_leaves_nothing() {
    let (folder, dir) = run_with(&[100, 200]).await;
    dir.delete_checkpoint(at_step(100)).await.unwrap();
    let left = all_files(folder.path());
    assert!(left.iter().all(|p| !p.to_str().unwrap().contains("0000000100")), "{left:?}");
    assert_eq!(dir.commits().await.unwrap().len(), 1);
}
