use super::place::make;
use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn uri(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn is_ours(path: &Path) -> Option<RunLock> {
    match RunLock::take(&uri(path)).await {
        Taken::Ours(lock) => Some(lock),
        Taken::Held(_) | Taken::Nowhere(_) => None,
    }
}

/// A lock held through a file of its own, as by another process, with words of its own.
fn hold(path: &Path, words: &str) -> File {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path).unwrap();
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, words).unwrap();
    file.lock().unwrap();
    file
}

/// A process that is no launcher.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn words(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        format!("{} {}", self.0.id(), stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn every_way_to_a_run_leads_to_one_lock() {
    let folder = folder();
    let run = folder.path().join("runs/one");
    std::fs::create_dir_all(&run).unwrap();
    symlink(&run, folder.path().join("link")).unwrap();
    symlink(folder.path().join("runs"), folder.path().join("others")).unwrap();
    let lock = is_ours(&run).await.unwrap();
    for way in ["link", "others/one", "runs/./one", "runs/../runs/one"] {
        let way = folder.path().join(way);
        match RunLock::take(&uri(&way)).await {
            Taken::Held(Some(holder)) => assert_eq!(holder.pid, rustix::process::getpid(), "{way:?}"),
            other => panic!("{way:?}: {other:?}"),
        }
        assert!(RunLock::is_held(&uri(&way)).await, "{way:?}");
    }
    drop(lock);
    assert!(!RunLock::is_held(&uri(&run)).await);
    assert!(std::fs::read_dir(&run).unwrap().next().is_none(), "a lock that is let go leaves nothing");
    drop(is_ours(&run).await.unwrap());
}

#[tokio::test]
async fn a_lock_is_closed_to_others() {
    let folder = folder();
    let _lock = is_ours(folder.path()).await.unwrap();
    let mode = std::fs::metadata(folder.path().join("launcher.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_a_lock_says_is_not_believed() {
    let stranger = Stranger::start();
    let own = Holder::own_words().unwrap();
    let (own_pid, own_start) = own.trim().split_once(' ').unwrap();
    let later = format!("{own_pid} {}", own_start.parse::<u64>().unwrap() + 1);
    let group = format!("-{own_pid} {own_start}");
    let cases = [
        stranger.words(),
        later,
        group,
        own_pid.to_owned(),
        "0 0".into(),
        "1 1".into(),
        "\u{0}".into(),
        String::new(),
    ];
    for words in cases {
        let folder = folder();
        let path = folder.path().join("launcher.lock");
        let held = hold(&path, &words);
        assert!(RunLock::holder(&uri(folder.path())).await.is_none(), "{words}");
        assert!(RunLock::is_held(&uri(folder.path())).await, "{words}");
        drop(held);
    }
}

#[tokio::test]
async fn the_copy_of_a_lock_does_not_name_the_launcher_of_the_original() {
    let (run, copy) = (folder(), folder());
    let _lock = is_ours(run.path()).await.unwrap();
    let words = std::fs::read_to_string(run.path().join("launcher.lock")).unwrap();
    assert!(RunLock::holder(&uri(run.path())).await.is_some());
    // This process has the copy open too, but for the proof another one must.
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(copy.path().join("launcher.lock"))
        .args(["sleep", "1000"])
        .spawn()
        .unwrap();
    while !RunLock::is_held(&uri(copy.path())).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = copy.path().join("launcher.lock");
    std::fs::write(&path, words).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(RunLock::holder(&uri(copy.path())).await.is_none());
    let _ = kill_process(Pid::from_child(&holder), Signal::KILL);
    holder.wait().unwrap();
}

#[tokio::test]
async fn who_only_looks_keeps_nobody_from_the_lock() {
    let folder = folder();
    let path = folder.path().join("launcher.lock");
    let looking = hold(&path, "");
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(looking);
    });
    assert!(is_ours(folder.path()).await.is_some());
    later.join().unwrap();
}

#[test]
fn only_a_plain_file_of_this_user_is_a_lock() {
    let folder = folder();
    let target = folder.path().join("precious");
    std::fs::write(&target, "content").unwrap();
    let link = folder.path().join("link");
    symlink(&target, &link).unwrap();
    let hard = folder.path().join("hard");
    std::fs::hard_link(&target, &hard).unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [link, hard, fifo, folder.path().to_owned()] {
        let refused = file::take(&Place(path.clone()), DEADLINE).unwrap_err();
        assert!(refused.contains(&uri(&path)), "{refused}");
    }
    assert_eq!(std::fs::read_to_string(target).unwrap(), "content");
}

#[test]
fn a_folder_that_others_can_open_or_made_a_link_of_is_not_used() {
    let folder = folder();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    assert!(make(&open).unwrap_err().contains("is open to others"));
    let link = folder.path().join("link");
    symlink(&open, &link).unwrap();
    assert!(make(&link).unwrap_err().contains("is not usable"));
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(make(&folder.path().join("file")).is_err());
    assert!(make(&folder.path().join("new")).is_ok());
}
