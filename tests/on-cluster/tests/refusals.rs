//! What is wrong is named, with its object and the way out, and nothing is left.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, variable};

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
    let job = space.workspace.write(
        "job.yaml",
        &format!(
            "name: absent\nnodes: 2\ncommand: [no-such-program]\nstorage: {0}\nkubernetes:\n  namespace: {1}\n  image: lockstep:test\n  secrets: [{{ name: s3 }}]\n",
            space.storage(),
            space.name
        ),
    );
    let failed = space.run(&format!("launch -f {}", job.display())).expect_code(1);
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
    fails(&space, "", 2, &["no cluster to speak to", "export KUBECONFIG", "--local"]);
}

#[test]
fn doctor_says_what_is_missing() {
    let mut space = Space::new("doctor");
    let place = format!("-n {} --storage {}", space.name, space.storage());
    let well = space.run(&format!("doctor {place}")).expect_code(0).stdout;
    for check in
        ["Kubernetes v1.", "everything that launch asks for", "within", "keeps to conditional writes"]
    {
        assert!(well.contains(check), "no {check:?} in:\n{well}");
    }
    let absent = space.run("doctor -n absent").expect_code(1).stdout;
    assert!(absent.contains("missing") && absent.contains("namespaces \"absent\" not found"), "{absent}");
    let bucket = space.run("doctor --storage s3://absent/runs --output json").expect_code(1).json();
    assert_eq!((&bucket[4]["check"], &bucket[4]["ok"]), (&"storage".into(), &false.into()), "{bucket:#}");
    space.workspace.set_env("KUBECONFIG", "/nonexistent");
    let none = space.run("doctor").expect_code(1).stdout;
    assert!(none.contains("no cluster to speak to") && none.contains("export KUBECONFIG"), "{none}");
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
