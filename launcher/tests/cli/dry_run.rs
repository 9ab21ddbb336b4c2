//! `launch` without a job, and `launch --dry-run`: what they say, and that they leave nothing.

use crate::common::{root, run};

#[test]
fn a_launch_of_nothing_shows_the_ways_to_start() {
    for words in [&["launch"][..], &["launch", "--local"], &["launch", "--nodes", "2"]] {
        let (code, _, stderr) = run(words);
        assert_eq!(code, 2, "{words:?}");
        for way in ["lockstep launch -f job.yaml", "-- python train.py", "lockstep launch --help"] {
            assert!(stderr.contains(way), "no {way:?} in:\n{stderr}");
        }
    }
}

#[test]
fn a_dry_run_on_this_machine_says_where_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("runs/digits");
    let (file, place) = (root().join("trainer/examples/digits.yaml"), run_dir.to_str().unwrap());
    let (code, stdout, stderr) =
        run(&["launch", "-f", file.to_str().unwrap(), "--local", "--run-dir", place, "--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, format!("would start digits\n  kept in   {place}\ndry run: nothing was changed\n"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let (code, _, stderr) = run(&["launch", "-f", file.to_str().unwrap(), "--local", "--dry-run=server"]);
    assert!(code == 2 && stderr.contains("there is no cluster to ask"), "{stderr}");
}

#[test]
fn a_dry_run_for_a_cluster_asks_none_and_names_the_objects() {
    let file = root().join("trainer/examples/digits-cluster.yaml");
    let words = ["--output", "json", "launch", "-f", file.to_str().unwrap(), "--dry-run"];
    let (code, stdout, stderr) = run(&words);
    assert_eq!(code, 0, "{stderr}");
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["would"], &told["run_dir"]), (&"start".into(), &"s3://lockstep/runs/digits".into()));
    let objects: Vec<_> = told["objects"].as_array().unwrap().iter().filter_map(|o| o.as_str()).collect();
    assert_eq!(objects[..2], ["Job digits", "Service digits"]);
    assert!(objects[2].starts_with("ConfigMap digits-"), "{objects:?}");
}
