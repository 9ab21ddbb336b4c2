//! Somebody else's program: PyTorch's own DistributedDataParallel, in an image that knows nothing of Lockstep.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, image, variable};
use lockstep_e2e::repository;
use std::process::Command;

const STEPS: u32 = 300;

/// Losses that rank 0 printed, by step.
fn losses(logs: &str) -> Vec<(u32, f64)> {
    let lines = logs.lines().filter_map(|line| line.strip_prefix("[rank 0] step "));
    let parse = |line: &str| {
        let (step, loss) = line.split_once(" loss ")?;
        Some((step.split_once('/')?.0.parse().ok()?, loss.parse().ok()?))
    };
    lines.filter_map(parse).collect()
}

#[test]
fn a_script_for_torchrun_is_brought_along_and_trains() {
    let script = repository().join("tests/cluster/python-image.sh");
    let made = Command::new(script).args(["--load", &variable("LOCKSTEP_CLUSTER")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let space = Space::new("python");
    let code = repository().join("tests/on-cluster/python");
    let job = format!(
        "--image lockstep-python:test --agent-image {} --nodes 2 --name torch --storage {} -n {} --set kubernetes.resources={{\"memory\":\"2GiB\"}} --set kubernetes.secrets=[{{\"name\":\"s3\"}}] --sync {} -- python3 train.py --data /app/digits.bin --steps {STEPS}",
        image(),
        space.storage(),
        space.name,
        code.display()
    );
    let done = space.run(&format!("launch -o json {job}")).expect_code(0);
    assert_eq!(done.json()["phase"], "done", "{}", done.stdout);
    let logs = space.run(&format!("logs torch -n {}", space.name)).expect_code(0).stdout;
    let losses = losses(&logs);
    let (first, last) = (losses.first().unwrap(), losses.last().unwrap());
    // A network that knows nothing yet is off by ln 10.
    assert!(first.0 == 1 && (first.1 - 10_f64.ln()).abs() < 0.5, "{logs}");
    assert!(last.0 == STEPS && last.1 < 0.5, "{logs}");
    space.run(&format!("delete torch -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}
