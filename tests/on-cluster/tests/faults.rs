//! Whatever happens to the pods, the run ends with the same bytes as an undisturbed one.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use jiff::Timestamp;
use lockstep_cluster_tests::{PATIENCE, Space, survives, survives_with};
use lockstep_e2e::wait_for;

#[test]
fn a_deleted_pod_of_either_node() {
    let status = survives("deleted", |space, run| {
        for node in [1, 0] {
            let pod = space.pod("struck", node);
            space.kubectl(&["delete", "pod", &pod, "--wait=false"]);
            run.wait_for_text(&format!("lost       node {node}: pod {pod}"));
            let next = space.pod("struck", node);
            assert_ne!(pod, next);
            space.wait_for_status("struck", "it trains again", |s| {
                s["phase"] == "running" && s["nodes"][0] == 2
            });
            // The other pod's worker outlives it, and gives the new one what it has trained.
            run.wait_for_text(&format!("from the memory of rank {}", 1 - node));
        }
    });
    assert_eq!(status["restarts"], 2, "{status:#}");
}

/// What the cluster knows of a pod: its uid, its address, and how often its agent was started again.
fn life(space: &Space, pod: &str) -> (String, String, u32) {
    let path = "jsonpath={.metadata.uid} {.status.podIP} {.status.containerStatuses[0].restartCount}";
    let told = space.kubectl(&["get", "pod", pod, "-o", path]);
    let [uid, ip, restarts] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    (uid.to_owned(), ip.to_owned(), restarts.parse().unwrap())
}

/// When rank 0 reported the first steps of a generation, by the clock of its pod's machine, which is this one.
fn stepped(space: &Space, generation: u32) -> Option<Timestamp> {
    let pod = space.pod("struck", 0);
    let logs = space.kubectl(&["logs", "--timestamps", &pod]);
    let of_it = format!("\"generation\":{generation},");
    let line = logs.lines().find(|line| line.contains("\"progress\"") && line.contains(&of_it))?;
    line.split(' ').next()?.parse().ok()
}

#[test]
fn an_agent_that_is_killed_comes_back_in_its_pod() {
    let status = survives_with("killed", "--set log.every=20steps", |space, run| {
        for (generation, node) in [(2, 1), (3, 0)] {
            let pod = space.pod("struck", node);
            let before = life(space, &pod);
            let since = Timestamp::now();
            space.kill_agent("struck", node);
            let next = wait_for("the next steps", PATIENCE, || stepped(space, generation));
            let took = next.duration_since(since).as_secs_f64();
            println!("node {node}: {took:.2} s from the kill to the next steps");
            let lost = format!("lost       node {node}: the agent of pod {pod} left with exit code 137");
            run.wait_for_text(&lost);
            space.wait_for_status("struck", "it trains again", |s| {
                s["phase"] == "running" && s["generation"] == generation && s["nodes"][0] == 2
            });
            assert_eq!(space.pod("struck", node), pod);
            assert_eq!(life(space, &pod), (before.0, before.1, 1));
        }
        let told = run.stderr();
        assert!(told.contains("recovery   an agent that dies comes back in its pod"), "{told}");
    });
    assert_eq!(status["restarts"], 2, "{status:#}");
}

#[test]
fn a_suspension() {
    survives("suspended", |space, _| {
        space.kubectl(&["patch", "job", "struck", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
        space.wait_for_status("struck", "it is suspended", |s| s["phase"] == "stopped");
    });
}

#[test]
fn an_eviction_of_both_pods_at_once() {
    survives("evicted", |space, _| {
        for node in [0, 1] {
            let pod = space.pod("struck", node);
            let eviction = format!(
                r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod}","namespace":"{}"}}}}"#,
                space.name
            );
            let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", space.name);
            let (evicted, said) = space.pipe(&eviction, &["create", "--raw", &path, "-f", "-"]);
            assert!(evicted, "{said}");
        }
        space.wait_for_status("struck", "it trains again", |s| {
            s["phase"] == "running" && s["generation"].as_u64() > Some(1)
        });
    });
}

#[test]
fn a_service_and_a_config_map_that_somebody_deletes() {
    survives("around", |space, _| {
        space.kubectl(&["delete", "service,configmap", "-l", "lockstep.dev/job=struck"]);
    });
}
