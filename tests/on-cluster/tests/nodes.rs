//! Machines and servers that fail. Each test has the whole cluster for itself: `make test-cluster-full`.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Broken, Space, fault, survives, survives_with};
use lockstep_e2e::Launched;

fn trains_again(space: &Space) {
    space.wait_for_status("struck", "it trains again", |s| s["phase"] == "running" && s["nodes"][0] == 2);
}

#[test]
fn a_drained_machine() {
    let status = survives("drained", |space, run| {
        let machine = space.machine("struck", 1);
        let words = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=100s"];
        space.cluster(&[&["drain", machine.as_str()], words.as_slice()].concat());
        run.wait_for_text("was evicted, as when a machine is drained");
        trains_again(space);
        space.cluster(&["uncordon", &machine]);
    });
    assert_eq!(status["restarts"], 1, "{status:#}");
}

#[test]
fn a_tainted_machine() {
    let status = survives("tainted", |space, run| {
        let machine = space.machine("struck", 1);
        space.cluster(&["taint", "node", &machine, "maintenance=soon:NoExecute"]);
        run.wait_for_text("was evicted because of a taint");
        trains_again(space);
        assert_ne!(space.machine("struck", 1), machine);
        space.cluster(&["taint", "node", &machine, "maintenance-"]);
    });
    assert_eq!(status["restarts"], 1, "{status:#}");
}

fn silent(run: &mut Launched, broken: Broken) {
    run.wait_for_text("node 1 sent no heartbeat");
    broken.mend();
}

#[test]
fn a_machine_that_is_frozen_for_a_while() {
    survives("frozen", |space, run| {
        let machine = space.machine("struck", 1);
        silent(run, Broken::new(&["freeze", &machine], &["thaw", &machine]));
    });
}

#[test]
fn a_machine_whose_link_is_down_for_a_while() {
    survives("parted", |space, run| {
        let machine = space.machine("struck", 1);
        silent(run, Broken::new(&["partition", &machine], &["heal", &machine]));
    });
}

/// The cluster can't tell a machine that is gone from one that is silent, until somebody says so: an operator, or the
/// cloud's controller.
#[test]
fn a_machine_that_is_lost_for_ever() {
    // What a silent machine's pods have left is waited for: 15 s until they are taken for lost, and their grace period.
    survives_with("lost", "--set recovery.grace=6s", |space, run| {
        let machine = space.machine("struck", 1);
        let broken = Broken::new(&["kill", &machine], &["start", &machine]);
        run.wait_for_text(&format!("is stuck terminating; node {machine} is not responding"));
        run.wait_for_text(&format!("kubectl delete node {machine}"));
        let status = space.status("struck");
        assert_eq!(status["phase"], "starting", "{status:#}");
        space.cluster(&["delete", "node", &machine]);
        run.wait_for_text("was lost with its machine");
        trains_again(space);
        assert_eq!(space.machine("struck", 0), space.machine("struck", 1));
        broken.mend();
        space.cluster(&["wait", "--for=create", &format!("node/{machine}"), "--timeout=60s"]);
        space.cluster(&["wait", "--for=condition=Ready", &format!("node/{machine}"), "--timeout=60s"]);
    });
}

#[test]
fn an_api_server_that_is_down_while_it_is_watched() {
    let status = survives("watched", |space, run| {
        let broken = Broken::new(&["stop", "kube-apiserver"], &["resume", "kube-apiserver"]);
        run.wait_for_text("the cluster doesn't answer");
        broken.mend();
        space.wait_for_status("struck", "it goes on", |s| s["phase"] == "running" || s["phase"] == "done");
    });
    assert_eq!(status["restarts"], 0, "the run itself needs no API server: {status:#}");
}

#[test]
fn an_api_server_that_restarts_before_the_pods_are_there() {
    let space = Space::new("early");
    let here = format!("tests/run={}", space.name);
    let selector = format!(r#"--set kubernetes.nodeSelector={{"tests/run":"{}"}}"#, space.name);
    let mut run = space.start(&format!("launch {}", space.digits("digits", &selector)));
    run.wait_for_text("2 of 2 pods unschedulable");
    fault(&["restart", "kube-apiserver"]);
    space.cluster(&["label", "node", "--all", &here]);
    run.finish().expect_code(0);
    space.cluster(&["label", "node", "--all", "tests/run-"]);
    space.leaves_nothing("digits");
}

/// A pod of higher priority on every machine, which takes all the room that `left` leaves.
fn fill(space: &Space, left: f64) {
    let class = r#"{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"urgent"},"value":1000}"#;
    let (made, said) = space.pipe(class, &["apply", "-f", "-"]);
    assert!(made, "{said}");
    for machine in space.cluster(&["get", "nodes", "-o", "name"]).lines() {
        let machine = machine.trim_start_matches("node/");
        let cores = space.cluster(&["get", "node", machine, "-o", "jsonpath={.status.allocatable.cpu}"]);
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": machine, "labels": { "tests": "urgent" } },
            "spec": {
                "priorityClassName": "urgent", "nodeSelector": { "kubernetes.io/hostname": machine },
                "containers": [{
                    "name": "peer", "image": "lockstep.test/tools:1", "imagePullPolicy": "Never",
                    "command": ["/peer", "7000", "1"],
                    "resources": { "requests": { "cpu": (cores.parse::<f64>().unwrap() - left).to_string() } },
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            },
        });
        let (made, said) = space.pipe(&pod.to_string(), &["apply", "-f", "-"]);
        assert!(made, "{said}");
    }
}

#[test]
fn pods_of_higher_priority_that_need_all_the_room_for_a_while() {
    survives("preempted", |space, run| {
        fill(space, 0.25);
        run.wait_for_text("made room for a pod of higher priority");
        run.wait_for_text("2 of 2 pods unschedulable");
        run.wait_for_text("Insufficient cpu");
        let status = space.status("struck");
        assert_eq!(status["phase"], "waiting", "{status:#}");
        space.kubectl(&["delete", "pods", "-l", "tests=urgent", "--grace-period=1"]);
        trains_again(space);
        space.cluster(&["delete", "priorityclass", "urgent"]);
    });
}
