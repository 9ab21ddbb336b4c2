//! The key to the storage, while a run needs it.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{STEPS, Space, variable};
use lockstep_e2e::{Launched, repository};
use std::process::Command;

/// Keys of the test's own: the store knows them until they are revoked.
fn bucket(words: &[&str]) {
    let program = format!("{}/bucket", variable("LOCKSTEP_CLUSTER_PARTS"));
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The store takes ids of letters and digits only.
fn id(which: &str, space: &Space) -> String {
    format!("{which}{}", space.name.replace('-', ""))
}

/// A key that reaches the namespace's folder only, as the Secret `s3`.
fn new_key(space: &Space, which: &str) {
    let (id, secret) = (id(which, space), "a-secret-of-its-own");
    bucket(&["key", "lockstep", &space.name, &id, secret]);
    space.kubectl(&["delete", "secret", "s3", "--ignore-not-found"]);
    space.secret_of("s3", &id, secret);
}

/// A namespace with its own copy of the digits, and the options of a run that has nothing but a first key.
fn prepare(purpose: &str) -> (Space, String) {
    let space = Space::new(purpose);
    let data = format!("{}/data", space.storage());
    let digits = repository().join("datasets/digits");
    space.run(&format!("data copy {} {data}", digits.display())).expect_code(0);
    let more = format!("--set data.train.uri={data} --set data.eval.uri={data} --set recovery.grace=6s");
    space.run(&format!("launch {}", space.long("calm", STEPS, &more))).expect_code(0);
    new_key(&space, "first");
    let job = space.long("struck", STEPS, &more);
    (space, job)
}

fn revoke_first(space: &Space, run: &mut Launched) {
    bucket(&["revoke", &id("first", space)]);
    run.wait_for_text("could not be written (1 of 3)");
    run.wait_for_text("was denied");
}

#[test]
fn a_key_that_is_revoked_ends_the_run_and_a_new_one_lets_it_go_on() {
    let (space, job) = prepare("revoked");
    let mut run = space.start(&format!("launch {job}"));
    run.wait_for_text("checkpoint 1000");
    revoke_first(&space, &mut run);
    let failed = run.finish().expect_code(1);
    for words in ["run struck failed: access to s3://", "was denied", "check the credentials", "carry on"] {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
    let stored = space.run(&format!("checkpoint verify {}/struck", space.storage())).expect_code(0);
    assert!(stored.stdout.contains("1000"), "{}", stored.stdout);
    new_key(&space, "second");
    let again = space.run(&format!("launch {job}")).expect_code(0);
    assert!(again.stderr.contains("nodes 0,1; from checkpoint "), "{}", again.stderr);
    assert_eq!(space.status("struck")["step"], STEPS);
    assert_eq!(space.model_hash("struck"), space.model_hash("calm"));
    space.leaves_nothing("struck");
}

#[test]
fn a_key_that_was_replaced_in_its_secret_may_be_revoked() {
    let (space, job) = prepare("rotated");
    let status = space.survives("struck", &job, |space, run| {
        new_key(space, "second");
        revoke_first(space, run);
        // A process keeps the key that it was started with: pods give way to others.
        run.wait_for_text("lost       node 0: pod");
    });
    assert_eq!(space.model_hash("struck"), space.model_hash("calm"), "{status:#}");
    space.leaves_nothing("struck");
}
