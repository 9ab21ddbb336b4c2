//! Why a run doesn't start: each reason by name, exit code 3 in bounded time, and nothing left.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::Space;

/// Launches with options that keep the pods from starting; the reason must be told.
fn waits(space: &Space, options: &str, reasons: &[&str]) {
    let job = space.digits("digits", &format!("--set kubernetes.startTimeout=8s {options}"));
    let gave_up = space.run(&format!("launch {job}")).expect_code(3);
    for reason in reasons {
        assert!(gave_up.stderr.contains(reason), "no {reason:?} in:\n{}", gave_up.stderr);
    }
    assert!(gave_up.stderr.contains("could not start within 8s"), "{}", gave_up.stderr);
    assert!(gave_up.stderr.contains("fix"), "{}", gave_up.stderr);
    assert_eq!(space.objects(), Vec::<String>::new());
}

#[test]
fn no_machine_has_what_it_asks_for() {
    let space = Space::new("lacking");
    waits(
        &space,
        r#"--set kubernetes.gpu={"count":8}"#,
        &["2 of 2 pods unschedulable", "Insufficient nvidia.com/gpu"],
    );
    let nowhere = r#"--set kubernetes.nodeSelector={"disk":"none"}"#;
    waits(&space, nowhere, &["2 of 2 pods unschedulable", "node affinity/selector"]);
}

#[test]
fn the_image_is_not_there() {
    let space = Space::new("image");
    let absent = "--set kubernetes.image=localhost:1/absent:1";
    waits(&space, absent, &["image localhost:1/absent:1 can't be pulled", "kubernetes.pullSecrets"]);
}

/// The kubelet may wait for a name server for longer than the launch does: then its pods are told to go, and the launch ends.
#[test]
fn the_registry_has_no_address() {
    let space = Space::new("registry");
    let absent = "--set kubernetes.startTimeout=8s --set kubernetes.image=registry.invalid/absent:1";
    let gave_up = space.run(&format!("launch {}", space.digits("digits", absent))).expect_code(3);
    for told in ["registry.invalid/absent:1", "could not start within 8s"] {
        assert!(gave_up.stderr.contains(told), "no {told:?} in:\n{}", gave_up.stderr);
    }
    assert!(space.objects().is_empty() || gave_up.stderr.contains("told to go"), "{}", gave_up.stderr);
}

#[test]
fn the_secret_is_not_there() {
    let space = Space::new("secret");
    waits(
        &space,
        r#"--set kubernetes.secrets=[{"name":"absent"}]"#,
        &["secret \"absent\" not found", "create the Secret"],
    );
    let volume = r#"--set kubernetes.volumes=[{"secret":"absent","mountPath":"/data"}]"#;
    waits(&space, volume, &["can't mount a volume", "absent"]);
}

#[test]
fn the_cluster_refuses_the_pods() {
    let space = Space::new("refused");
    let privileged = r#"--set kubernetes.podOverlay={"spec":{"hostNetwork":true}}"#;
    waits(&space, privileged, &["the cluster refuses its pods", "violates PodSecurity", "host namespaces"]);
    space.kubectl(&["create", "quota", "small", "--hard=pods=1"]);
    waits(&space, "", &["the cluster refuses its pods", "exceeded quota: small", "larger ResourceQuota"]);
}

#[test]
fn a_quota_that_is_raised_lets_it_start() {
    let space = Space::new("quota");
    space.kubectl(&["create", "quota", "small", "--hard=requests.cpu=600m"]);
    let mut run = space.start(&format!("launch {}", space.digits("digits", "")));
    run.wait_for_text("exceeded quota: small");
    space.kubectl(&["patch", "quota", "small", "-p", r#"{"spec":{"hard":{"requests.cpu":"2"}}}"#]);
    let done = run.finish().expect_code(0);
    assert!(!done.stderr.contains("lost"), "{}", done.stderr);
    space.leaves_nothing("digits");
}
