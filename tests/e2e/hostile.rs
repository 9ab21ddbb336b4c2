//! What other users of the machine, and files that aren't what they seem, can do to a run: nothing.

use lockstep_e2e::{Launched, Workspace, wait_for};
use rustix::process::{Pid, Signal, getuid, kill_process_group};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Somebody else on this machine.
const STRANGER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// A command that trains for good.
const ENDLESS: &str = "name: endless\ncommand: [sh, -c, 'echo here; exec sleep 1000']\n";
/// A command that is done at once.
const SHORT: &str = "name: short\ncommand: ['true']\n";

/// False, and said so, where this test can't become somebody else.
fn can_be_another_user() -> bool {
    let root = getuid().is_root();
    if !root {
        eprintln!("skipped: only root can act as another user");
    }
    root
}

/// A workspace that everybody can enter, with a folder `d` that everybody can write to.
fn open_workspace() -> Workspace {
    let ws = Workspace::new();
    let open =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(&ws.path(""), 0o755);
    std::fs::create_dir(ws.path("d")).unwrap();
    open(&ws.path("d"), 0o777);
    ws
}

fn launch(ws: &Workspace, job: &str) -> String {
    format!("launch -f {} --local --run-dir d", ws.write("job.yaml", job).display())
}

/// Does something in a workspace as somebody else.
fn as_stranger(ws: &Workspace, script: &str) -> Command {
    let mut command = Command::new(STRANGER[0]);
    command.args(&STRANGER[1..]).args(["sh", "-c", script]).current_dir(ws.path(""));
    command
}

/// A command in a group of its own, which ends with the value.
struct Ended(Child);

impl Ended {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).process_group(0).spawn().unwrap())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn lives(run: &Launched) -> bool {
    !run.marker.find("lockstep").is_empty() && !run.marker.find("lockstep-agent").is_empty()
}

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    if !can_be_another_user() {
        return;
    }
    let ws = open_workspace();
    let precious = ws.write("precious", "content");
    assert!(as_stranger(&ws, "ln -s ../precious d/launcher.lock").status().unwrap().success());
    ws.run(&launch(&ws, SHORT)).expect_code(0);
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "content");
}

#[test]
fn a_lock_that_a_stranger_holds_stops_nobody() {
    if !can_be_another_user() {
        return;
    }
    let ws = open_workspace();
    let script = "umask 0; : > d/launcher.lock; exec flock --no-fork d/launcher.lock sh -c ': > d/held; exec sleep 1000'";
    let _holder = Ended::start(&mut as_stranger(&ws, script));
    wait_for("the stranger holds the lock", Duration::from_secs(20), || {
        ws.path("d/held").exists().then_some(())
    });
    ws.run(&launch(&ws, SHORT)).expect_code(0);
}

#[test]
fn a_stranger_cannot_open_the_lock_of_a_run() {
    if !can_be_another_user() {
        return;
    }
    let ws = open_workspace();
    let mut run = ws.start(&launch(&ws, ENDLESS));
    run.wait_for_text("[rank 0] here");
    for script in ["flock -n d/launcher.lock true", "flock -n -s d/launcher.lock true", ": < d/launcher.lock"]
    {
        let tried = as_stranger(&ws, script).stderr(Stdio::null()).status().unwrap();
        assert!(!tried.success(), "{script}");
    }
    ws.run("cancel d --now").expect_code(0);
    run.finish();
}

#[test]
fn a_folder_of_a_stranger_is_used_for_no_lock() {
    if !can_be_another_user() {
        return;
    }
    let mut ws = open_workspace();
    let precious = ws.write("precious", "content");
    // The run's folder refuses a lock, and so another place is looked for.
    std::fs::create_dir(ws.path("d/launcher.lock")).unwrap();
    let script = "mkdir -m 777 d/session && ln -s ../precious d/session/lockstep";
    assert!(as_stranger(&ws, script).status().unwrap().success());
    let session = ws.path("d/session").to_string_lossy().into_owned();
    ws.set_env("XDG_RUNTIME_DIR", &session);
    ws.run(&launch(&ws, SHORT)).expect_code(0);
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "content");
    assert_eq!(std::fs::read_dir(session).unwrap().count(), 1);
}

#[test]
fn cancel_now_kills_nobody_but_the_launcher_of_that_run() {
    let ws = open_workspace();
    let mut run = ws.start(&launch(&ws, ENDLESS));
    run.wait_for_text("[rank 0] here");
    // A copy, whose lock names the launcher of the original.
    assert!(Command::new("cp").arg("-r").args([ws.path("d"), ws.path("copy")]).status().unwrap().success());
    let refused = ws.run("cancel copy --now").expect_code(1);
    assert!(refused.stderr.contains("no launcher of run copy is alive"), "{}", refused.stderr);
    // The same, with the lock held by somebody else.
    let lock = ws.path("copy/launcher.lock");
    let mut holder = Command::new("flock");
    holder
        .arg("--no-fork")
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec sleep 1000"])
        .stdout(Stdio::piped());
    let mut holder = Ended::start(&mut holder);
    std::io::Read::read_exact(holder.0.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
    let refused = ws.run("cancel copy --now").expect_code(1);
    assert!(refused.stderr.contains("can't prove who launched"), "{}", refused.stderr);
    assert!(lives(&run), "{}", run.stderr());
    ws.run("cancel d --now").expect_code(0);
    let marker = run.marker.clone();
    assert_eq!(run.finish().code, None);
    marker.expect_none_left();
}

#[test]
fn launches_by_different_ways_meet_at_one_lock() {
    let mut ws = open_workspace();
    let mut run = ws.start(&launch(&ws, ENDLESS));
    run.wait_for_text("[rank 0] here");
    symlink(ws.path("d"), ws.path("link")).unwrap();
    std::fs::create_dir(ws.path("tmp")).unwrap();
    let tmp = ws.path("tmp").to_string_lossy().into_owned();
    ws.set_env("TMPDIR", &tmp);
    let absolute = ws.path("d").display().to_string();
    for way in ["link", "./d/../d", &absolute] {
        let words = launch(&ws, ENDLESS).replace("--run-dir d", &format!("--run-dir {way}"));
        let mut second = ws.start(&words);
        second.wait_for_text("is running already");
        second.signal(Signal::INT);
        second.finish().expect_code(130);
    }
    assert!(!run.stderr().contains("generation 2"), "{}", run.stderr());
    ws.run("cancel d --now").expect_code(0);
    run.finish();
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let ws = open_workspace();
    let launch = launch(&ws, SHORT);
    ws.run(&launch).expect_code(0);
    let key = ws.path("d/control.key");
    for (mode, refused) in [(0o666, true), (0o640, true), (0o600, false)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let again = ws.run(&format!("{launch} --fresh"));
        if refused {
            let told = again.expect_code(1).stderr;
            assert!(told.contains(&format!("mode {mode:o}")) && told.contains("chmod 600"), "{told}");
        } else {
            again.expect_code(0);
        }
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, "short").unwrap_or_else(|_| panic!("the key can be written by its owner"));
    let told = ws.run(&format!("{launch} --fresh"));
    assert!(told.code != Some(0) && told.stderr.contains("instead of 32"), "{}", told.stderr);
}
