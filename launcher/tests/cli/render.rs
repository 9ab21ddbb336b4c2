//! `lockstep render`.

use std::time::{Duration, Instant};

use crate::common::{lockstep, outcome, root, run};

const MINIMAL: &str = "launcher/render/tests/jobs/minimal.yaml";

#[test]
fn what_is_printed_is_what_the_objects_are() {
    let golden = std::fs::read_to_string(root().join("launcher/render/tests/goldens/minimal.yaml")).unwrap();
    assert_eq!(run(&["render", "-f", MINIMAL]), (0, golden, String::new()));
}

#[test]
fn json_is_one_list() {
    let short = run(&["render", "-f", MINIMAL, "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&short.1).unwrap();
    let kinds: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["Service", "ConfigMap", "NetworkPolicy", "Job"]);
    assert_eq!(run(&["render", "-f", MINIMAL, "--output", "json"]), short);
}

#[test]
fn the_example_for_a_cluster_is_whole() {
    let (code, stdout, stderr) = run(&["render", "-f", "trainer/examples/digits-cluster.yaml"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("name: s3"), "{stdout}");
}

#[test]
fn a_job_for_a_laptop_is_refused_with_all_that_it_lacks() {
    let (code, stdout, stderr) = run(&["render", "-f", "trainer/examples/digits.yaml"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("error: 4 problems in trainer/examples/digits.yaml\n"), "{stderr}");
}

#[test]
fn what_kubernetes_would_not_take_has_its_place() {
    let text = "name: a\ncommand: [train]\nstorage: s3://b/runs\nkubernetes:\n  image: i\n  \
                affinity: { nodeAfinity: {} }\n";
    let (code, _, stderr) = outcome(lockstep(&["render", "-f", "-"]).write_stdin(text));
    assert_eq!(code, 2);
    assert!(
        stderr.starts_with(
            "error: 1 problem in stdin\n  stdin:6:28   unknown field `kubernetes.affinity.nodeAfinity`\n"
        ),
        "{stderr}"
    );
}

#[test]
fn a_thousand_nodes_are_no_more_work_than_two() {
    let started = Instant::now();
    let sets = ["--set", "nodes=1000", "--set", "train.globalBatch=64000"];
    let (code, stdout, _) = run(&[["render", "-f", MINIMAL].as_slice(), &sets].concat());
    assert!(code == 0 && stdout.contains("completions: 1000"), "{stdout}");
    // A deadline for a machine that is busy with other tests, not the figure.
    assert!(started.elapsed() < Duration::from_secs(20));
}
