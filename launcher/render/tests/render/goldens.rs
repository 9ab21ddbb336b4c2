//! What is rendered, as files: `tests/jobs/*.yaml` gives `tests/goldens/*.yaml`.

use lockstep_job::JobSpec;
use lockstep_render::{render, to_json, to_yaml};
use proptest::prelude::*;

use crate::common::{here, rendered, resolved};

const REFRESH: &str = "LOCKSTEP_REFRESH=1 cargo test -p lockstep-render --test render";

#[track_caller]
fn current(name: &str) {
    let path = here().join("goldens").join(format!("{name}.yaml"));
    let made = to_yaml(&rendered(name, &[])).unwrap();
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == made, "{} is out of date; refresh it with: {REFRESH}", path.display());
}

#[test]
fn the_least_that_a_cluster_needs() {
    current("minimal");
}

#[test]
fn every_field() {
    current("everything");
}

#[test]
fn a_scheduled_job() {
    current("nightly");
}

#[test]
fn json_and_yaml_say_the_same() {
    let objects = rendered("everything", &[]);
    let list: serde_json::Value = serde_json::from_str(&to_json(&objects).unwrap()).unwrap();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&"List".into(), &"v1".into()));
    let yaml = to_yaml(&objects).unwrap();
    let documents: Vec<serde_json::Value> =
        yaml.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    assert_eq!(list["items"], serde_json::Value::from(documents));
}

#[test]
fn no_object_grows_with_the_number_of_nodes() {
    let size =
        |nodes: &str| to_yaml(&rendered("minimal", &[nodes, "train.globalBatch=64000"])).unwrap().len();
    assert!(size("nodes=1000").abs_diff(size("nodes=2")) < 100);
}

proptest! {
    #[test]
    fn the_same_job_gives_the_same_bytes(
        nodes in 1u32..64,
        memory in 1u64..512,
        count in 1u32..9,
        network_policy: bool,
        env in prop::collection::btree_map("[A-Z]{3,9}X", "[ -~]{0,20}", 0..6),
    ) {
        let mut job = serde_json::to_value(&resolved("everything", &[]).job).unwrap();
        job["nodes"] = nodes.into();
        job["recovery"]["minNodes"] = nodes.into();
        let section = &mut job["kubernetes"];
        section["resources"]["memory"] = format!("{memory}GiB").into();
        section["shmSize"] = "512MiB".into();
        section["gpu"]["count"] = count.into();
        section["networkPolicy"] = network_policy.into();
        section["env"] = serde_json::to_value(&env).unwrap();
        let job = JobSpec::from_json(&job).unwrap_or_else(|problems| panic!("{problems}"));
        let yaml = |job: &JobSpec| to_yaml(&render(job, lockstep_job::Resume::Auto).unwrap()).unwrap();
        let again = JobSpec::from_json(serde_json::to_value(&job).unwrap()).unwrap();
        prop_assert_eq!(yaml(&job), yaml(&again));
        // Values with any characters come back as they were.
        for text in yaml(&job).split("\n---\n") {
            let document: serde_json::Value = serde_saphyr::from_str(text).unwrap();
            if document["kind"] == "Job" {
                let set = &document["spec"]["template"]["spec"]["containers"][0]["env"];
                for (name, value) in &env {
                    let got = set.as_array().unwrap().iter().find(|v| v["name"] == **name).unwrap();
                    let literal = value.replace("$(", "$$(");
                    prop_assert_eq!(&got["value"], &serde_json::Value::from(literal));
                }
            }
        }
    }
}
