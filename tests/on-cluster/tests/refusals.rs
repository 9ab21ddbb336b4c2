//! What is wrong is named, with its object and the way out, and nothing is left.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{PATIENCE, Space, variable};
use rustix::process::Signal;

fn fails(space: &Space, options: &str, code: i32, says: &[&str]) {
    let failed = space.run(&format!("launch {}", space.digits("digits", options))).expect_code(code);
    for words in says {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
}

#[test]
fn storage_that_can_not_be_used_ends_the_run() {
    let space = Space::new("storage");
    fails(
        &space,
        "--set storage=s3://absent/runs",
        1,
        &["the bucket of s3://absent/runs/digits", "does not exist"],
    );
    space.secret("wrong", "not-the-key");
    let wrong = r#"--set kubernetes.secrets=[{"name":"wrong"}] --set name=wrong"#;
    fails(&space, wrong, 1, &["was denied", "check the credentials", "lockstep logs wrong"]);
    let failed = space.status("wrong");
    assert_eq!(failed["phase"], "failed", "{failed:#}");
    assert!(failed["why"].as_str().unwrap().contains("was denied"), "{failed:#}");
}

#[test]
fn a_command_that_is_not_there_ends_the_run() {
    let space = Space::new("command");
    let job = space.command("absent", "[no-such-program]", "");
    let failed = space.run(&format!("launch -f {job}")).expect_code(1);
    assert!(failed.stderr.contains("no-such-program"), "{}", failed.stderr);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_can_be_carried_on() {
    let space = Space::new("limit");
    let job = space.long("digits", 500_000, "--set limits.maxRunTime=6s");
    let stopped = space.run(&format!("launch {job} --output json")).expect_code(4);
    assert!(stopped.stderr.contains("limits.maxRunTime is reached"), "{}", stopped.stderr);
    let result = stopped.json();
    assert_eq!(result["phase"], "stopped", "{result:#}");
    let step = result["last_checkpoint"]["step"].as_u64().unwrap();
    // The same with a longer time carries on from there.
    let job = space.long("digits", u32::try_from(step).unwrap() + 500, "--set limits.maxRunTime=5m");
    space.run(&format!("launch {job}")).expect_code(0);
    let status = space.status("digits");
    assert_eq!(status["step"], step + 500, "{status:#}");
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let space = Space::new("foreign");
    space.kubectl(&["create", "service", "clusterip", "digits", "--tcp=80"]);
    fails(&space, "", 2, &["Service digits", "is not Lockstep's", "another name"]);
    assert_eq!(space.objects(), Vec::<String>::new());
    space.kubectl(&["get", "service", "digits"]);
}

#[test]
fn a_cluster_that_is_not_there_or_does_not_know_the_user_is_named() {
    let mut space = Space::new("kubeconfig");
    fails(
        &space,
        "--set kubernetes.context=nowhere",
        2,
        &["the kubeconfig has no context nowhere", "there are"],
    );
    fails(&space, "-n absent", 1, &["namespaces \"absent\" not found", "kubectl create namespace"]);
    let config = std::fs::read_to_string(variable("KUBECONFIG")).unwrap();
    let server = config.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    let elsewhere = space.workspace.write("elsewhere", &config.replace(server, "https://127.0.0.1:1"));
    space.workspace.set_env("KUBECONFIG", &elsewhere.to_string_lossy());
    fails(&space, "", 1, &["127.0.0.1:1", "check the address in the kubeconfig"]);
    space.workspace.set_env("KUBECONFIG", "/nonexistent");
    space.workspace.set_env("HOME", "/nonexistent");
    fails(&space, "", 2, &["no cluster to talk to", "export KUBECONFIG", "--local"]);
}

#[test]
fn who_has_a_wrong_token_or_one_that_has_ended_is_told_to_log_in_again() {
    let mut space = Space::new("token");
    space.kubectl(&["create", "serviceaccount", "user"]);
    space.kubectl(&[
        "create",
        "rolebinding",
        "user",
        "--clusterrole=admin",
        &format!("--serviceaccount={}:user", space.name),
    ]);
    let token = space.kubectl(&["create", "token", "user"]);
    let all = space.cluster(&["config", "view", "--raw", "--minify", "-o", "json"]);
    let mut config: serde_json::Value = serde_json::from_str(&all).unwrap();
    let mut holder = |space: &mut Space, token: &str| {
        config["users"][0]["user"] = serde_json::json!({ "token": token });
        let file = space.workspace.write("token", &config.to_string());
        space.workspace.set_env("KUBECONFIG", &file.to_string_lossy());
    };
    let unknown = ["can't get Job digits", "the cluster doesn't recognize you", "log in again"];
    holder(&mut space, "not-a-token");
    fails(&space, "", 2, &unknown);
    holder(&mut space, token.trim());
    let nothing = space.run(&format!("status -n {}", space.name)).expect_code(0);
    assert!(!nothing.stderr.contains("recognize you"), "{}", nothing.stderr);
    // A token ends with the account that it is of, and the cluster may know it for some seconds yet.
    space.kubectl(&["delete", "serviceaccount", "user"]);
    let told = lockstep_e2e::wait_for("the token has ended", PATIENCE, || {
        let answer = space.run(&format!("status -n {}", space.name));
        (answer.code == Some(2)).then_some(answer)
    });
    assert!(told.stderr.contains(unknown[1]) && told.stderr.contains(unknown[2]), "{}", told.stderr);
    assert_eq!(space.objects(), Vec::<String>::new());
}

#[test]
fn a_name_is_refused_that_is_too_long_for_the_last_node() {
    let space = Space::new("name");
    let name = "a".repeat(61);
    // With 10 nodes the last pod is called NAME-9; with 12, NAME-11.
    let refused = space.run(&format!("launch {}", space.digits(&name, "--set nodes=12"))).expect_code(2);
    for words in ["name has 61 characters", "over 63", "use at most 60 characters"] {
        assert!(refused.stderr.contains(words), "no {words:?} in:\n{}", refused.stderr);
    }
    assert_eq!(space.objects(), Vec::<String>::new());
    space.run(&format!("launch {}", space.digits(&name, ""))).expect_code(0);
    space.leaves_nothing(&name);
}

#[test]
fn doctor_says_what_is_missing() {
    let mut space = Space::new("doctor");
    let place = format!("-n {} --storage {}", space.name, space.storage());
    let well = space.run(&format!("doctor {place}")).expect_code(0).stdout;
    for check in ["Kubernetes v1.", "everything that a launch needs", "within", "honours conditional writes"]
    {
        assert!(well.contains(check), "no {check:?} in:\n{well}");
    }
    space.cluster(&["label", "namespace", &space.name, "pod-security.kubernetes.io/warn=restricted"]);
    let job = space.digits("digits", "");
    let taken = space.run(&format!("doctor {job}")).expect_code(0).stdout;
    assert!(taken.contains("would take its objects"), "{taken}");
    let overlay = r#"--set kubernetes.podOverlay={"spec":{"hostNetwork":true}}"#;
    let unsafe_pods = space.run(&format!("doctor {job} {overlay}")).expect_code(1).stdout;
    assert!(
        unsafe_pods.contains("would violate PodSecurity") && unsafe_pods.contains("hostNetwork=true"),
        "{unsafe_pods}"
    );
    let gpus = r#"--set kubernetes.gpu={"resource":"nvidia.com/none","count":1}"#;
    let no_gpus = space.run(&format!("doctor {job} {gpus}")).expect_code(1).stdout;
    assert!(no_gpus.contains("2 x 1 nvidia.com/none: the machines have room for 0 such pods"), "{no_gpus}");
    assert_eq!(space.objects(), Vec::<String>::new());
    let absent = space.run("doctor -n absent").expect_code(1).stdout;
    assert!(absent.contains("missing") && absent.contains("namespaces \"absent\" not found"), "{absent}");
    let bucket = space.run("doctor --storage s3://absent/runs --output json").expect_code(1).json();
    // Who names no cluster has none asked.
    assert_eq!((&bucket[0]["check"], &bucket[0]["ok"]), (&"storage".into(), &false.into()), "{bucket:#}");
    space.workspace.set_env("KUBECONFIG", "/nonexistent");
    let none = space.run("doctor").expect_code(1).stdout;
    assert!(none.contains("no cluster to talk to") && none.contains("export KUBECONFIG"), "{none}");
}

/// What the doctor says of the digits with these changes, whose pod it has started and taken away.
fn doctors_pod(space: &Space, sets: &str, code: i32) -> Vec<serde_json::Value> {
    let job = space.digits("digits", sets);
    let checks = space.run(&format!("doctor {job} --pod --output json")).expect_code(code).json();
    assert_eq!(space.objects(), Vec::<String>::new());
    checks.as_array().unwrap().clone()
}

fn check(checks: &[serde_json::Value], name: &str) -> (bool, String) {
    let found = checks.iter().find(|check| check["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {checks:#?}"));
    (found["ok"].as_bool().unwrap(), found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn doctor_asks_a_pod_what_only_a_pod_finds() {
    let space = Space::new("inside");
    let well = doctors_pod(&space, "", 0);
    for (name, words) in [
        ("pod", "ran on "),
        ("pod dns", "kubernetes.default.svc is "),
        ("pod storage", "honours conditional writes"),
        ("pod clock", "of this machine's"),
    ] {
        let (ok, detail) = check(&well, name);
        assert!(ok && detail.contains(words), "{name}: {detail}");
    }
    let (ok, detail) = check(&doctors_pod(&space, "--set storage=s3://absent/runs", 1), "pod storage");
    assert!(!ok && detail.contains("s3://absent/runs"), "{detail}");
}

#[test]
fn doctor_says_what_a_pod_lacks() {
    let space = Space::new("lacks");
    let dns = r#"--set kubernetes.podOverlay={"spec":{"dnsPolicy":"None","dnsConfig":{"nameservers":["127.0.0.1"]}}}"#;
    let (ok, detail) = check(&doctors_pod(&space, dns, 1), "pod dns");
    assert!(!ok && detail.contains("kubernetes.default.svc"), "{detail}");
    let job = space.digits("digits", r#"--set kubernetes.nodeSelector={"disk":"none"}"#);
    let waits = space.start(&format!("doctor {job} --pod"));
    lockstep_e2e::wait_for("the doctor's pod", PATIENCE, || {
        space.kubectl(&["get", "pods", "-o", "name"]).contains("doctor-").then_some(())
    });
    waits.signal(Signal::INT);
    waits.finish().expect_code(130);
    assert_eq!(space.objects(), Vec::<String>::new());
    let image = "--set kubernetes.image=lockstep:absent --set kubernetes.imagePullPolicy=Never";
    let (ok, detail) = check(&doctors_pod(&space, image, 1), "pod");
    assert!(!ok && detail.contains("image lockstep:absent can't be pulled"), "{detail}");
}

#[test]
fn what_a_deleted_job_leaves_is_found_and_removed() {
    let space = Space::new("left");
    let manifests = space.run(&format!("render {}", space.digits("digits", ""))).expect_code(0).stdout;
    let (applied, said) = space.pipe(&manifests, &["apply", "--server-side", "-f", "-"]);
    assert!(applied, "{said}");
    let nothing = space.run(&format!("gc -n {}", space.name)).expect_code(0);
    assert!(nothing.stdout.contains("nothing is left over"), "{}", nothing.stdout);
    space.kubectl(&["delete", "job", "digits", "--cascade=foreground"]);
    let would = space.run(&format!("gc --dry-run -n {}", space.name)).expect_code(0);
    assert!(would.stdout.contains("would remove what is left of: digits"), "{}", would.stdout);
    assert_eq!(space.objects().len(), 3);
    space.run(&format!("gc -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}
