//! The examples that train what people train, in pods, from data in a bucket; a pod is lost meanwhile.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{PATIENCE, Space, image};
use lockstep_e2e::{repository, wait_for};
use std::path::Path;

/// The job of an example, in pods, on data that was brought to the namespace's storage.
fn job(space: &Space, name: &str, data: &Path, more: &str) -> String {
    let uri = format!("{}/data", space.storage());
    space.run(&format!("data copy {} {uri}", data.display())).expect_code(0);
    let example = repository().join(format!("trainer/examples/{name}.yaml"));
    let kubernetes = format!(
        r#"{{"namespace":"{}","image":"{}","resources":{{"cpu":"500m","memory":"1GiB"}},"secrets":[{{"name":"s3"}}]}}"#,
        space.name,
        image()
    );
    format!(
        "-f {} --set storage={} --set data.train.uri={uri} --set data.eval.uri={uri} --set data.cache.size=256MiB \
         --set kubernetes={kubernetes} {more}",
        example.display(),
        space.storage()
    )
}

/// Takes node 1's pod away after a checkpoint; the run ends all the same.
fn trains_through_a_kill(space: &Space, name: &str, job: &str) -> serde_json::Value {
    let mut run = space.start(&format!("launch {job}"));
    run.wait_for_text("  checkpoint ");
    let pod = space.pod(name, 1);
    space.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    let told = run.finish().expect_code(0).stderr;
    assert!(told.contains("from checkpoint "), "{told}");
    wait_for("the end", PATIENCE, || Some(space.status(name)).filter(|status| status["phase"] == "done"))
}

#[test]
fn a_gpt_learns_shakespeare_from_a_bucket() {
    let space = Space::new("gpt");
    let small = "--set model.layers=2 --set model.width=64 --set data.window=64 --set train.steps=600 \
                 --set log.every=10steps --set eval.every=600steps --set checkpoint.every=10steps";
    let job = job(&space, "shakespeare-gpt", &repository().join("datasets/shakespeare"), small);
    let status = trains_through_a_kill(&space, "shakespeare-gpt", &job);
    assert!(status["eval"]["loss"].as_f64().unwrap() < 3.0, "{status:#}");
    let sample = format!("sample {}/shakespeare-gpt --prompt ROMEO: --length 40", space.storage());
    let text = space.run(&sample).expect_code(0).stdout;
    assert!(text.starts_with("ROMEO:") && text.chars().count() > 30, "{text}");
    space.leaves_nothing("shakespeare-gpt");
}

#[test]
fn a_residual_network_learns_pictures_from_a_bucket() {
    let archive = repository().join("../shared/data/cifar10/images.tar");
    if !archive.exists() {
        eprintln!("NOT TESTED: {} is not there", archive.display());
        return;
    }
    let space = Space::new("resnet");
    space.run(&format!("data pack {} cifar10 --split train=0.8,test=0.2", archive.display())).expect_code(0);
    let few = "--set train.epochs=1 --set log.every=5steps --set checkpoint.every=10steps";
    let job = job(&space, "cifar-resnet20", &space.workspace.path("cifar10"), few);
    let status = trains_through_a_kill(&space, "cifar-resnet20", &job);
    assert!(status["eval"]["accuracy"].as_f64().unwrap() > 0.2, "{status:#}");
    space.leaves_nothing("cifar-resnet20");
}
