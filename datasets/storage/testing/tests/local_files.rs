//! What only local files have: modes, permissions, leftovers of a killed writer.

use std::{fs, os::unix::fs::PermissionsExt};

use lockstep_storage::{Created, Error, open};

#[tokio::test]
async fn a_secret_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path().to_str().unwrap()).unwrap();
    storage.create_secret("control.key", "k".into()).await.unwrap();
    storage.create("run.json", "{}".into()).await.unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("control.key"), 0o600);
    // What is not secret follows the umask; the process's own shows what that is.
    fs::write(folder.path().join("plain"), "").unwrap();
    assert_eq!(mode("run.json"), mode("plain"));
}

#[tokio::test]
async fn unfinished_files_of_a_killed_writer_are_invisible() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".tmp-killed"), "half").unwrap();
    let storage = open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(storage.list("").await.unwrap(), []);
    assert_eq!(storage.create("killed", "whole".into()).await.unwrap(), Created::Ours);
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path().to_str().unwrap()).unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    let error = storage.put("taken", "a file where a folder is".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["taken"]);
}

#[tokio::test]
async fn a_root_that_cannot_be_written_is_named() {
    // Even root may not create files there, so this holds for every user.
    let storage = open("/proc/self/runs").unwrap();
    let error = storage.create("run.json", "{}".into()).await.unwrap_err();
    assert!(error.to_string().contains("/proc/self/runs/run.json"), "{error}");
}
