//! Whatever happens to the pods, the run ends with the same bytes as an undisturbed one.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::survives;

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
