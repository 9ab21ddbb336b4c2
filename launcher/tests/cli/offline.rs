//! Commands that need nothing but the command itself, and how any command ends.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::common::{root, run};

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let checked_in = std::fs::read_to_string(root().join("launcher/jobspec/schema/job.schema.json")).unwrap();
    let (code, stdout, _) = run(&["schema"]);
    assert!(code == 0 && stdout == checked_in, "it differs; refresh the one in jobspec, see its tests");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert!(code == 0 && stdout.contains("validate") && stdout.contains("explain"), "{shell}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let (code, page, _) = run(&["man"]);
    assert!(code == 0 && page.contains(".TH lockstep 1"), "{page}");
    let dir = tempfile::tempdir().unwrap();
    let man1 = dir.path().join("share/man1");
    assert_eq!(run(&["man", "--dir", &man1.to_string_lossy()]).0, 0);
    let page = std::fs::read_to_string(man1.join("lockstep-validate.1")).unwrap();
    assert!(page.contains("all at once"), "{page}");
    let (code, _, stderr) = run(&["man", "--dir", "/dev/null/man"]);
    assert!(
        code == 1 && stderr.starts_with("error: can't write manual pages into /dev/null/man"),
        "{stderr}"
    );
}

#[test]
fn the_version_is_told() {
    assert_eq!(run(&["--version"]), (0, format!("lockstep {}\n", env!("CARGO_PKG_VERSION")), String::new()));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_a_hint() {
    let (code, _, stderr) = run(&["vlidate"]);
    assert!(code == 2 && stderr.contains("a similar subcommand exists: 'validate'"), "{stderr}");
    let (code, _, stderr) = run(&["validate", "-f", "x", "--sett", "a=b"]);
    assert!(code == 2 && stderr.contains("--set"), "{stderr}");
    let (code, _, stderr) = run(&[]);
    assert!(code == 2 && stderr.contains("Usage: lockstep"), "{stderr}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}
