//! What only local files have: modes, permissions, leftovers of a killed writer and of others, and things that are no
//! files.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    fs::{self, FileTimes},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use lockstep_storage::{Created, Error, Storage, open};

/// Far below the default deadline, far above what a look takes.
const AT_ONCE: Duration = Duration::from_secs(10);

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn at(folder: &tempfile::TempDir) -> Arc<dyn Storage> {
    open(folder.path().to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_no_file_is_refused_at_once_and_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    make_fifo(&folder.path().join("fifo"));
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    symlink("/dev/zero", folder.path().join("zero")).unwrap();
    let storage = at(&folder);
    let begin = Instant::now();
    for (name, what) in [("fifo", "a FIFO"), ("socket", "a socket"), ("zero", "a character device")] {
        for error in [
            storage.get(name).await.unwrap_err(),
            storage.get_at_most(name, 10).await.unwrap_err(),
            storage.get_range(name, 0..1).await.unwrap_err(),
            storage.head(name).await.unwrap_err(),
        ] {
            assert!(matches!(&error, Error::NotAFile { what: told, .. } if told == what), "{error:?}");
            assert!(error.to_string().contains(&storage.uri(name)), "{error}");
        }
    }
    assert_eq!(storage.list("").await.unwrap(), []);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn files_of_others_and_links_in_circles_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let storage = at(&folder);
    storage.put("train/index.json", "{}".into()).await.unwrap();
    for junk in [".DS_Store", "._index.json", ".nfs0001", "index.json~", ".index.json.swp", "#index.json#"] {
        fs::write(path("train").join(junk), "junk").unwrap();
        fs::write(path(junk), "junk").unwrap();
    }
    fs::create_dir_all(path("lost+found/below")).unwrap();
    fs::write(path("lost+found/below/index.json"), "junk").unwrap();
    symlink("..", path("train/up")).unwrap();
    symlink("itself", path("train/itself")).unwrap();
    symlink("nothing", path("train/dangling")).unwrap();
    let listed: Vec<_> = storage.list("").await.unwrap().into_iter().map(|meta| meta.path).collect();
    assert_eq!(listed, ["train/index.json"]);
    assert_eq!(storage.folders("").await.unwrap(), ["train"]);
    assert!(storage.get("train/itself").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_huge_file_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let storage = at(&folder);
    storage.put("run.json", "{}".into()).await.unwrap();
    let listed = storage.head("run.json").await.unwrap();
    // Sparse: it takes no room on the disk, and would take 100 GB of memory.
    fs::File::options().write(true).open(folder.path().join("run.json")).unwrap().set_len(100 << 30).unwrap();
    let error = storage.get_at_most("run.json", 1 << 20).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert!(matches!(storage.get_listed(&listed).await, Err(Error::Changed { .. })));
}

#[tokio::test]
async fn a_replaced_file_is_seen_even_with_its_old_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shard");
    fs::write(&file, "first").unwrap();
    let storage = at(&folder);
    let listed = storage.head("shard").await.unwrap();
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "other").unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();
    let now = storage.head("shard").await.unwrap();
    assert_eq!((now.bytes, &now.version), (listed.bytes, &listed.version));
    assert!(matches!(storage.get_listed(&listed).await, Err(Error::Changed { .. })));
}

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
