//! The same run on each cloud's protocol: data, checkpoints, recovery and resume give the same model as on files.

use lockstep_e2e::{Workspace, repository};
use lockstep_storage::conformance;
use lockstep_storage_testing::{Access, Azurite, Call, Fault, GcsServer, S3Server};
use rustix::process::Signal;

fn launch(storage: &str) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps=600 --set checkpoint.every=200steps --set log.every=20steps --run-dir {storage}",
        digits.display()
    )
}

/// A workspace whose commands reach a server.
fn workspace(env: Vec<(&str, String)>) -> Workspace {
    let mut ws = Workspace::new();
    env.into_iter().for_each(|(name, value)| ws.set_env(name, &value));
    ws
}

fn model_hash(ws: &Workspace, run: &str) -> String {
    let list = ws.run(&format!("checkpoint list {run} --output json")).expect_code(0).json();
    assert_eq!(list[0]["step"], 600, "{list:#}");
    list[0]["model_hash"].as_str().unwrap().to_owned()
}

/// Kills a run that has a checkpoint there, and has the next launch carry on to what a folder gives too, on data of the same
/// bucket.
fn survives_the_loss_of_everything(env: Vec<(&str, String)>, bucket: &str) {
    let ws = workspace(env);
    let (uri, data) = (format!("{bucket}runs/digits"), format!("{bucket}digits"));
    ws.run(&format!("data copy {} {data}", repository().join("datasets/digits").display())).expect_code(0);
    let there = format!("{} --set data.train.uri={data} --set data.eval.uri={data}", launch(&uri));
    let mut run = ws.start(&there);
    run.wait_until("a checkpoint in the bucket", || {
        let list = ws.run(&format!("checkpoint list {uri} --output json"));
        list.stdout.contains("model_hash").then_some(())
    });
    run.kill_everything();
    ws.run(&there).expect_code(0);
    ws.run(&format!("checkpoint verify {uri}")).expect_code(0);
    let status = ws.run(&format!("status {uri} --output json")).expect_code(0).json();
    assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &600.into()), "{status:#}");
    ws.run(&launch("d")).expect_code(0);
    assert_eq!(model_hash(&ws, &uri), model_hash(&ws, "d"));
}

#[test]
fn a_run_on_s3_survives_the_loss_of_everything() {
    let server = S3Server::start().unwrap();
    survives_the_loss_of_everything(server.env(), &server.uri(""));
}

#[test]
fn a_run_on_google_cloud_storage_survives_the_loss_of_everything() {
    let server = GcsServer::start(Access::ByToken).unwrap();
    survives_the_loss_of_everything(server.env(), &server.uri(""));
}

#[test]
fn a_run_on_azure_survives_the_loss_of_everything() {
    let server = Azurite::start();
    survives_the_loss_of_everything(server.env(), &server.uri(""));
}

/// A checkpoint's folder is one with a `model.safetensors`, as others publish it.
#[test]
fn published_weights_are_taken_from_a_bucket() {
    let server = S3Server::start().unwrap();
    let ws = workspace(server.env());
    let (first, second) = (server.uri("runs/first"), server.uri("runs/second"));
    ws.run(&launch(&first)).expect_code(0);
    let list = ws.run(&format!("checkpoint list {first} --output json")).expect_code(0).json();
    let folder = list[0]["uri"].as_str().unwrap();
    assert!(folder.starts_with("s3://"), "{folder}");
    // A rate of almost nothing leaves the parameters as they came.
    let still = r#"--set optimizer={"kind":"sgd","lr":1e-30}"#;
    let from = format!(r#"--set warmStart={{"kind":"weights","uri":"{folder}"}}"#);
    let begun = ws.run(&format!("{} {still} {from}", launch(&second))).expect_code(0);
    assert!(begun.stderr.contains("with the weights of s3://"), "{}", begun.stderr);
    assert_eq!(model_hash(&ws, &second), model_hash(&ws, &first));
}

#[test]
fn the_doctor_holds_a_bucket_to_the_contract_and_leaves_nothing() {
    let server = GcsServer::start(Access::Open).unwrap();
    let ws = workspace(server.env());
    let words = format!("doctor --storage {} --output json", server.uri("runs"));
    let found = ws.run(&words).expect_code(0).json();
    let found: Vec<_> =
        found.as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(found[0], "storage");
    assert_eq!(found[1..], conformance::CHECKS.each_ref().map(|check| check.name));
    assert_eq!(server.num_objects(), 0);

    // Of a store that forgets conditions it says what is lost there.
    server.faults().add(Call::Put, "create-race", Fault::Unconditional, usize::MAX);
    let told = ws.run(&format!("doctor --storage {}", server.uri("runs"))).expect_code(1);
    for words in ["create-race", "told that they won", "two leaders form the same generation"] {
        assert!(told.stdout.contains(words), "no {words:?} in:\n{}", told.stdout);
    }
}

#[test]
fn who_attaches_to_a_launcher_that_dies_before_the_run_began_is_told() {
    let server = S3Server::start().unwrap();
    let ws = workspace(server.env());
    let uri = server.uri("runs/digits");
    server.faults().add(Call::Head, "", Fault::Silent, 1);
    let mut first = ws.start(&launch(&uri));
    first.wait_until("its first question", || (server.faults().left() == 0).then_some(()));
    let mut second = ws.start(&launch(&uri));
    second.wait_for_text("is running already");
    first.kill_everything();
    let told = second.finish().expect_code(1);
    assert!(told.stderr.contains("ended before the run began"), "{}", told.stderr);
}

#[test]
fn the_same_uri_at_another_endpoint_is_another_run() {
    let servers = [S3Server::start().unwrap(), S3Server::start().unwrap()];
    let runs = servers.each_ref().map(|server| {
        let ws = workspace(server.env());
        (ws.start(&launch(&server.uri("runs/digits"))), ws)
    });
    for (run, _ws) in runs {
        let done = run.finish().expect_code(0);
        assert!(!done.stderr.contains("is running already"), "{}", done.stderr);
    }
}

#[test]
fn a_bucket_that_refuses_the_key_is_named() {
    let server = S3Server::start().unwrap();
    let mut ws = workspace(server.env());
    ws.set_env("AWS_SECRET_ACCESS_KEY", "wrong");
    let refused = ws.run(&launch(&server.uri("runs/digits"))).expect_code(1);
    assert!(refused.stderr.contains("runs/digits"), "{}", refused.stderr);
    // The doctor has written nothing there, and says nothing of what it would have left.
    let told =
        ws.run(&format!("doctor --storage {} --output json", server.uri("runs"))).expect_code(1).json();
    let checks: Vec<_> = told.as_array().unwrap().iter().map(|check| &check["check"]).collect();
    assert_eq!(checks, ["storage"], "{told:#}");
    assert!(told[0]["detail"].as_str().unwrap().contains("was denied"), "{told:#}");
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
}

#[test]
fn a_doctor_that_is_stopped_takes_away_what_it_wrote() {
    let ws = Workspace::new();
    let mut doctor = ws.start("doctor --storage a/b/c");
    doctor.wait_for_text("2 of 15");
    doctor.signal(Signal::INT);
    let stopped = doctor.finish().expect_code(130);
    assert!(
        stopped.stdout.contains("round-trip") && !stopped.stdout.contains("left-behind"),
        "{}",
        stopped.stdout
    );
    assert!(!ws.path("a").exists());
}

#[test]
fn a_doctor_whose_store_goes_away_tells_what_it_found() {
    let server = S3Server::start().unwrap();
    let ws = workspace(server.env());
    let mut doctor = ws.start(&format!("doctor --storage {} --output json", server.uri("runs")));
    doctor.wait_for_text("1 of 15");
    for call in [Call::Get, Call::Head, Call::Put, Call::List, Call::Delete, Call::Multipart] {
        server.faults().add(call, "", Fault::Unavailable, usize::MAX);
    }
    let told = doctor.finish().expect_code(1).json();
    let checks = told.as_array().unwrap();
    assert_eq!((checks.len(), &checks[1]["ok"]), (17, &true.into()), "{told:#}");
    assert!(checks[15]["detail"].as_str().unwrap().contains("not tried, because"), "{told:#}");
    assert_eq!(checks[16]["check"], "left-behind", "{told:#}");
}

#[test]
fn who_watches_a_run_outlasts_a_store_that_is_away_for_a_moment() {
    let server = S3Server::start().unwrap();
    let ws = workspace(server.env());
    let uri = server.uri("runs/digits");
    let mut run =
        ws.start(&format!("{} --set train.steps=500000 --set checkpoint.every=1000000steps", launch(&uri)));
    run.wait_for_text("step 20");
    let mut watching = ws.start(&format!("status {uri} --watch"));
    let mut reading = ws.start(&format!("logs -f {uri}"));
    watching.wait_for_stdout("digits");
    reading.wait_for_stdout("step");
    // Each of their calls is tried seven times.
    server.faults().add(Call::Head, "membership", Fault::Unavailable, 60);
    for watcher in [&mut watching, &mut reading] {
        watcher.wait_for_text("the store does not answer, trying again");
    }
    for watcher in [&mut watching, &mut reading] {
        watcher.wait_for_text("the store answers again");
    }
    run.kill_everything();
}
