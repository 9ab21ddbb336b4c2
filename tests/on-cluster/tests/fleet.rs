//! A run of more nodes than this machine could hold: their kubelets are played by kwok, the cluster's own servers are real.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{PATIENCE, Space, variable};
use lockstep_e2e::{repository, wait_for};
use std::process::Command;

const NODES: u32 = 200;

#[test]
fn a_run_of_two_hundred_nodes_is_made_shown_and_taken_away() {
    let script = repository().join("tests/cluster/fake-nodes.sh");
    let cluster = variable("LOCKSTEP_CLUSTER");
    let made = Command::new(script).args(["--name", &cluster, "50"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let space = Space::new("fleet");
    let place = r#"--set kubernetes.nodeSelector={"kwok.x-k8s.io/node":"fake"} --set kubernetes.tolerations=[{"key":"kwok.x-k8s.io/node","operator":"Exists"}]"#;
    let batch = format!("--set nodes={NODES} --set train.globalBatch={NODES} --set train.microBatch=1");
    let runs_on = r#"--set kubernetes.podOverlay={"metadata":{"annotations":{"lockstep.test/runs-on":""}}}"#;
    let job = space.digits("fleet", &format!("{place} {batch} {runs_on} --wait=created"));
    let created = space.run(&format!("launch {job}")).expect_code(0);
    assert!(created.stderr.contains("created"), "{}", created.stderr);
    let pods =
        || space.kubectl(&["get", "pods", "-o", "jsonpath={range .items[*]}{.spec.nodeName}{'\\n'}{end}"]);
    wait_for("all pods have a machine", PATIENCE, || {
        (pods().lines().filter(|machine| machine.starts_with("fake-")).count() == NODES as usize)
            .then_some(())
    });
    let status = space.run(&format!("status fleet -n {} --output json", space.name)).expect_code(0);
    assert_eq!(status.json()["nodes"][1], NODES, "{}", status.stdout);
    let all = space.run(&format!("status -n {}", space.name)).expect_code(0);
    assert!(all.stdout.contains("/200"), "{}", all.stdout);
    space.run(&format!("delete fleet -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}
