//! Breaks and mends the cluster under the tests.

use crate::{Space, variable};
use lockstep_e2e::repository;
use std::process::Command;

/// Does something to the cluster that `make test-cluster` started: the words of tests/cluster/fault.sh.
///
/// # Panics
/// Where it fails.
pub fn fault(words: &[&str]) {
    let script = repository().join("tests/cluster/fault.sh");
    let cluster = variable("LOCKSTEP_CLUSTER");
    let output = Command::new(&script).arg("--name").arg(cluster).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A fault that is mended when the value goes, also where the test fails in between.
#[derive(Debug)]
pub struct Broken {
    mend: Vec<String>,
}

impl Broken {
    /// Breaks something now; `mend` is the fault that undoes it.
    ///
    /// # Panics
    /// Where it can't be broken.
    pub fn new(words: &[&str], mend: &[&str]) -> Self {
        fault(words);
        Self { mend: mend.iter().map(ToString::to_string).collect() }
    }

    /// Mends it before the end of the test.
    pub fn mend(self) {}
}

impl Drop for Broken {
    fn drop(&mut self) {
        fault(&self.mend.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

impl Space {
    /// The machine on which a node of a run is.
    pub fn machine(&self, run: &str, node: u32) -> String {
        let pod = self.pod(run, node);
        self.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.spec.nodeName}"])
    }

    /// Kills the agent of a node with SIGKILL, which nobody inside its container could, and so its whole container.
    pub fn kill_agent(&self, run: &str, node: u32) {
        let pod = self.pod(run, node);
        let container =
            self.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"]);
        fault(&["container", &self.machine(run, node), container.trim_start_matches("containerd://")]);
    }
}
