//! The same run on S3: checkpoints, recovery and resume give the same model as on files.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_e2e::{Workspace, repository, wait_for};
use lockstep_storage_testing::S3Server;
use std::time::Duration;

fn launch(storage: &str) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps=600 --set checkpoint.every=200steps --set log.every=20steps --run-dir {storage}",
        digits.display()
    )
}

fn model_hash(ws: &Workspace, run: &str) -> String {
    let list = ws.run(&format!("checkpoint list {run} --output json")).expect_code(0).json();
    assert_eq!(list[0]["step"], 600, "{list:#}");
    list[0]["model_hash"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_on_s3_survives_the_loss_of_everything() {
    let server = S3Server::start().unwrap();
    let mut ws = Workspace::new();
    server.env().into_iter().for_each(|(name, value)| ws.set_env(name, &value));
    let uri = server.uri("runs/digits");
    let run = ws.start(&launch(&uri));
    wait_for("a checkpoint on S3", Duration::from_secs(60), || {
        let list = ws.run(&format!("checkpoint list {uri} --output json"));
        list.stdout.contains("model_hash").then_some(())
    });
    run.kill_everything();
    ws.run(&launch(&uri)).expect_code(0);
    ws.run(&format!("checkpoint verify {uri}")).expect_code(0);
    let status = ws.run(&format!("status {uri} --output json")).expect_code(0).json();
    assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &600.into()), "{status:#}");
    ws.run(&launch("d")).expect_code(0);
    assert_eq!(model_hash(&ws, &uri), model_hash(&ws, "d"));
}

#[test]
fn a_bucket_that_refuses_the_key_is_named() {
    let server = S3Server::start().unwrap();
    let mut ws = Workspace::new();
    server.env().into_iter().for_each(|(name, value)| ws.set_env(name, &value));
    ws.set_env("AWS_SECRET_ACCESS_KEY", "wrong");
    let refused = ws.run(&launch(&server.uri("runs/digits"))).expect_code(1);
    assert!(refused.stderr.contains("runs/digits"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
}
