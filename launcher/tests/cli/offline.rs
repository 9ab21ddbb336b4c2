//! Commands that need nothing but the command itself, and how any command ends.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::common::{root, run};

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let checked_in = std::fs::read_to_string(root().join("trainer/job/schema/job.schema.json")).unwrap();
    let (code, stdout, _) = run(&["schema"]);
    assert!(code == 0 && stdout == checked_in, "it differs; refresh the one in trainer/job, see its tests");
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert!(code == 0 && stdout.contains("COMPLETE") && stdout.contains("lockstep"), "{shell}: {stdout}");
    }
}

#[test]
fn a_shell_completes_commands_and_names_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("runs/digits")).unwrap();
    std::fs::write(dir.path().join("runs/digits/run.json"), "{}").unwrap();
    for (words, index, expected) in [("lockstep sta", "1", "status"), ("lockstep logs di", "2", "digits")] {
        let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .arg("--")
            .args(words.split(' '))
            .current_dir(dir.path())
            .env("KUBECONFIG", dir.path().join("none"))
            .envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", index), ("_CLAP_IFS", "\n")])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{words}");
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
    assert!(page.contains("all of its problems"), "{page}");
    let (code, _, stderr) = run(&["man", "--dir", "/dev/null/man"]);
    assert!(
        code == 1 && stderr.starts_with("error: can't write manual pages into /dev/null/man"),
        "{stderr}"
    );
}

#[test]
fn the_doctor_holds_a_folder_to_the_contract_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["doctor", "--storage", dir.path().to_str().unwrap()]);
    assert!(code == 0 && stdout.contains("create-race") && !stdout.contains("fix:"), "{stdout}{stderr}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    for (uri, part) in [("gs://", "gs://bucket/prefix"), ("gopher://x", "az://container/prefix")] {
        let (code, _, stderr) = run(&["doctor", "--storage", uri]);
        assert!(code == 2 && stderr.contains(part), "{stderr}");
    }
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
fn a_commands_first_step_is_not_waited_for() {
    let job = ["launch", "--image", "a", "--agent-image", "b", "--nodes", "1", "--storage", "s3://b/runs"];
    let (code, _, stderr) = run(&[&job[..], &["--wait=first-step", "--", "true"]].concat());
    assert!(code == 2 && stderr.contains("--wait=created"), "{stderr}");
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
