//! Somebody on the cluster's network who knows everything of a run but its key gets nothing and disturbs nothing.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use bytes::Bytes;
use lockstep_cluster_tests::{PATIENCE, STEPS, Space, survives};
use lockstep_e2e::wait_for;
use serde_json::{Value, json};

/// What an agent says of a connection whose holder has another key, or none.
const REFUSED: &str = "refused a connection";

/// Copies a run's records, with a key of the thief's own in place of the run's.
async fn steal(from: &str, to: &str) -> lockstep_storage::Result<()> {
    let (from, to) = (lockstep_storage::open(from)?, lockstep_storage::open(to)?);
    for object in from.list("").await? {
        match object.path.as_str() {
            "control.key" => {}
            path if path.starts_with("checkpoints/") => {}
            path => to.put(path, from.get(path).await?).await?,
        }
    }
    to.put("control.key", Bytes::from_static(&[7; 32])).await
}

/// A pod in another namespace that takes part in the stolen run as its node 1: the run's own agent, with another key. It
/// finds the addresses of the true run's agents in the records, and calls them again and again.
fn send_agent(thief: &Space, folder: &str) {
    let rendered = thief.run(&format!("render {}", thief.long("struck", STEPS, ""))).expect_code(0).stdout;
    let (parsed, objects) = thief.pipe(&rendered, &["create", "--dry-run=client", "-o", "json", "-f", "-"]);
    assert!(parsed, "{objects}");
    let objects: Vec<Value> =
        serde_json::Deserializer::from_str(&objects).into_iter().map(Result::unwrap).collect();
    let objects = match objects.as_slice() {
        [one] if one["kind"] == "List" => one["items"].as_array().unwrap().clone(),
        many => many.to_vec(),
    };
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let mut spec = of_kind("Job")["spec"]["template"]["spec"].clone();
    let args = spec["containers"][0]["args"].as_array_mut().unwrap();
    args.retain(|arg| {
        !arg.as_str().unwrap().starts_with("--run-dir") && !arg.as_str().unwrap().starts_with("--launch")
    });
    args.extend([json!(format!("--run-dir={folder}")), json!("--launch=stolen"), json!("--node=1")]);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "thief" }, "spec": spec });
    for object in [of_kind("ConfigMap"), pod] {
        let (made, said) = thief.pipe(&object.to_string(), &["create", "-f", "-"]);
        assert!(made, "{said}");
    }
}

#[test]
fn an_agent_with_another_key_is_refused_and_disturbs_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = survives("victim", |space, _| {
        let thief = Space::new("thief");
        let folder = format!("{}/stolen", thief.storage());
        runtime.block_on(steal(&format!("{}/struck", space.storage()), &folder)).unwrap();
        send_agent(&thief, &folder);
        let leader = space.pod("struck", 0);
        wait_for("the leader refuses the thief", PATIENCE, || {
            space.kubectl(&["logs", &leader]).contains(REFUSED).then_some(())
        });
        let thiefs = thief.kubectl(&["logs", "thief"]);
        assert!(!thiefs.contains("formed") && !thiefs.contains("leads"), "{thiefs}");
        let records = thief.kubectl(&["get", "pod", "thief", "-o", "jsonpath={.status.phase}"]);
        assert_eq!(records, "Running", "it goes on trying");
    });
    assert_eq!((&status["restarts"], &status["generation"]), (&0.into(), &1.into()), "{status:#}");
}
