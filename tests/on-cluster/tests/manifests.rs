//! What platform teams install: it is accepted, its Role is enough for every command, and for nothing else.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::Space;
use lockstep_e2e::repository;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Makes the example overlay this namespace's, and applies it.
fn install(space: &Space) {
    let copy = space.workspace.path("manifests");
    let copied =
        Command::new("cp").arg("-r").arg(repository().join("manifests")).arg(&copy).status().unwrap();
    assert!(copied.success());
    let overlay = copy.join("overlays/team-a/kustomization.yaml");
    let text = std::fs::read_to_string(&overlay).unwrap();
    std::fs::write(&overlay, text.replace("team-a", &space.name)).unwrap();
    apply(space, overlay.parent().unwrap());
}

fn apply(space: &Space, folder: &Path) {
    space.cluster(&["apply", "--server-side", "--validate=strict", "-k", &folder.to_string_lossy()]);
}

/// A kubeconfig of somebody who has the launcher's Role and no other.
fn kubeconfig(space: &Space) -> String {
    let account = format!("{}:launcher", space.name);
    space.kubectl(&["create", "serviceaccount", "launcher"]);
    space.kubectl(&[
        "create",
        "rolebinding",
        "tests",
        "--role=lockstep-launcher",
        &format!("--serviceaccount={account}"),
    ]);
    let token = space.kubectl(&["create", "token", "launcher"]);
    let all = space.cluster(&["config", "view", "--raw", "--minify", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&all).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    space.workspace.write("kubeconfig", &config.to_string()).to_string_lossy().into_owned()
}

#[test]
fn the_launchers_role_is_enough_for_every_command_and_for_nothing_else() {
    let mut space = Space::new("manifests");
    install(&space);
    let config = kubeconfig(&space);
    space.workspace.set_env("KUBECONFIG", &config);
    let place = format!("-n {}", space.name);
    let job = space.digits("digits", r#"--set kubernetes.pdb={}"#);
    space.run(&format!("launch {job}")).expect_code(0);
    for command in ["status digits", "status", "logs digits", "events digits", "gc", "doctor"] {
        let done = space.run(&format!("{command} {place}")).expect_code(0);
        assert!(!done.stderr.contains("forbidden"), "{}", done.stderr);
    }
    space.run(&format!("doctor {job} --pod")).expect_code(0);
    space.run(&format!("delete digits {place}")).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
    let long = space.long("long", 500_000, "--wait=first-step");
    space.run(&format!("launch {long}")).expect_code(0);
    for command in ["cancel long", "resume long", "delete long"] {
        space.run(&format!("{command} {place}")).expect_code(0);
    }
    let schedule = space.digits("nightly", r#"--set kubernetes.schedule={"cron":"@yearly"}"#);
    for command in [format!("launch {schedule}"), format!("delete nightly {place}")] {
        space.run(&command).expect_code(0);
    }
    let refused = space.run(&format!("launch {} -n default", space.digits("digits", ""))).expect_code(1);
    assert!(
        refused.stderr.contains("forbidden") && refused.stderr.contains("launcher Role"),
        "{}",
        refused.stderr
    );

    let who = format!("--as=system:serviceaccount:{}:launcher", space.name);
    let may = |verb: &str, what: &str| {
        let question = ["auth", "can-i", verb, what, who.as_str(), "-q"];
        space.pipe("", &question).0
    };
    assert!(may("create", "jobs") && may("get", "pods/log"));
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("delete", "pods"),
        ("create", "pods/exec"),
        ("update", "jobs"),
        ("deletecollection", "jobs"),
        ("create", "roles"),
        ("list", "nodes"),
        ("create", "serviceaccounts/token"),
    ] {
        assert!(!may(verb, what), "the Role lets launchers {verb} {what}");
    }
}

#[test]
fn a_namespace_with_a_quota_takes_jobs_that_name_no_amounts() {
    let space = Space::new("amounts");
    install(&space);
    space.run(&format!("launch {}", space.digits("digits", "--set kubernetes.resources={}"))).expect_code(0);
}
