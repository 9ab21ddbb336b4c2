//! A panic shows one line and ends with 1. The panic happens in this test's own process, started again.

use std::{process::Command, time::Duration};

use lockstep::{Exit, guard};

const CHILD: &str = "LOCKSTEP_TEST_PANIC";

#[test]
fn a_panic_is_one_clear_line() {
    if std::env::var_os(CHILD).is_some() {
        let exit = guard(|| panic!("first\nsecond"));
        std::process::exit(if exit == Exit::Failed { 1 } else { 99 });
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "bug::a_panic_is_one_clear_line", "--nocapture"]).env(CHILD, "1");
    let output = assert_cmd::Command::from_std(child).timeout(Duration::from_secs(60)).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        matches!(lines.as_slice(), [line] if line.starts_with("bug: first second (launcher/tests/cli/bug.rs:")
            && line.ends_with("please report it with the command that led here")),
        "{stderr}"
    );
}
