//! Machines and servers that fail. Each test has the whole cluster for itself: `make test-cluster-full`.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, variable};
use lockstep_e2e::{Launched, repository};
use std::process::Command;

const STEPS: u32 = 40_000;

/// Does something to the cluster under the tests.
fn fault(words: &[&str]) {
    let script = repository().join("tests/cluster/fault.sh");
    let mut command = Command::new(script);
    let output = command.arg("--name").arg(variable("LOCKSTEP_CLUSTER")).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs, does `strike` after the first checkpoint, and compares the end with that of an undisturbed run.
fn survives(purpose: &str, strike: impl FnOnce(&Space, &mut Launched)) {
    let space = Space::new(purpose);
    space.run(&format!("launch {}", space.long("calm", STEPS, ""))).expect_code(0);
    let mut struck = space.start(&format!("launch {}", space.long("struck", STEPS, "")));
    struck.wait_for_text("checkpoint 1000");
    strike(&space, &mut struck);
    struck.finish().expect_code(0);
    assert_eq!(space.model_hash("struck"), space.model_hash("calm"));
}

/// The machine on which a node of a run is.
fn machine(space: &Space, run: &str, node: u32) -> String {
    let pod = space.pod(run, node);
    space.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.spec.nodeName}"])
}

#[test]
fn a_drained_machine() {
    survives("drained", |space, run| {
        let machine = machine(space, "struck", 1);
        space.cluster(&[
            "drain",
            &machine,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=100s",
        ]);
        run.wait_for_text("was evicted, as when a machine is drained");
        space.wait_for_status("struck", "it trains again", |s| s["phase"] == "running" && s["nodes"][0] == 2);
        space.cluster(&["uncordon", &machine]);
    });
}

#[test]
fn a_machine_that_is_frozen_for_a_while() {
    survives("frozen", |space, run| {
        let machine = machine(space, "struck", 1);
        fault(&["freeze", &machine]);
        run.wait_for_text("node 1 sent no heartbeat");
        fault(&["thaw", &machine]);
    });
}

#[test]
fn a_machine_whose_link_is_down_for_a_while() {
    survives("parted", |space, run| {
        let machine = machine(space, "struck", 1);
        fault(&["partition", &machine]);
        run.wait_for_text("node 1 sent no heartbeat");
        fault(&["heal", &machine]);
    });
}

#[test]
fn an_api_server_that_restarts_while_it_is_watched() {
    survives("restarted", |space, run| {
        fault(&["stop", "kube-apiserver"]);
        run.wait_for_text("the cluster doesn't answer");
        fault(&["resume", "kube-apiserver"]);
        space.wait_for_status("struck", "it goes on", |s| s["phase"] == "running" || s["phase"] == "done");
    });
}
