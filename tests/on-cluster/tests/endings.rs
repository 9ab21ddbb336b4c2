//! Runs that can't get far: they end in bounded time, say why, and leave nothing when they are deleted.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::Space;

#[test]
fn a_command_that_fails_at_once_ends_the_run_after_three_times() {
    let space = Space::new("fails");
    // The first argument is no folder that can be written to.
    let job = space.command("fails", "[lockstep-agent, install, /absent]", "");
    let failed = space.run(&format!("launch -f {job}")).expect_code(1);
    // Both ranks fail, and whichever is the first each time, it is the same cause.
    for words in ["left with exit code 1, 3 times without progress", "can't copy", "lockstep logs fails"] {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
    assert_eq!(space.status("fails")["phase"], "failed");
    space.leaves_nothing("fails");
}

#[test]
fn a_command_that_is_done_at_once_ends_the_run_well() {
    let space = Space::new("quick");
    let job = space.command("quick", "[lockstep-agent, --version]", "");
    let done = space.run(&format!("launch -f {job}")).expect_code(0);
    assert!(done.stderr.contains("[rank 0]") && done.stderr.contains("lockstep-agent 0."), "{}", done.stderr);
    let status = space.status("quick");
    assert_eq!((&status["phase"], &status["restarts"]), (&"done".into(), &0.into()), "{status:#}");
    space.leaves_nothing("quick");
}

#[test]
fn a_worker_that_needs_more_memory_than_it_is_given_is_named_with_its_limit() {
    let space = Space::new("memory");
    // Far from enough: near the limit the kernel would first read libtorch's pages again and again.
    let job = space.digits("digits", "--set kubernetes.resources.memory=48MiB");
    let failed = space.run(&format!("launch {job}")).expect_code(1);
    for words in [
        "was killed by the kernel: out of memory (container agent, limit 48MiB)",
        "raise kubernetes.resources.memory",
        "3 times without progress",
    ] {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
    let status = space.status("digits");
    assert!(status["why"].as_str().unwrap().contains("limit 48MiB"), "{status:#}");
    // What helps, helps.
    let more = space.digits("digits", "");
    space.run(&format!("launch {more}")).expect_code(0);
    space.leaves_nothing("digits");
}

/// A slice of a GPU, as a device plugin would offer it on machines that have some.
const SLICE: &str = "nvidia.com/mig-1g.5gb";

#[test]
fn a_pod_gets_its_gpus_and_says_what_keeps_it_from_computing_on_them() {
    let space = Space::new("gpus");
    let path = SLICE.replace('/', "~1");
    let offer = format!(r#"[{{"op":"add","path":"/status/capacity/{path}","value":"2"}}]"#);
    let nodes = space.cluster(&["get", "nodes", "-o", "name"]);
    let nodes: Vec<_> = nodes.split_whitespace().take(2).collect();
    for node in &nodes {
        space.cluster(&["patch", node, "--subresource=status", "--type=json", "-p", &offer]);
    }
    let gpus =
        format!(r#"--set kubernetes.gpu={{"resource":"{SLICE}","count":2}} --set train.globalBatch=64"#);
    let failed = space.run(&format!("launch {}", space.digits("digits", &gpus))).expect_code(1);
    for words in [
        "scheduled  2 of 2 pods",
        "has no GPU to compute on (kubernetes.gpu asks for one)",
        "no NVIDIA driver",
    ] {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
    let status = space.status("digits");
    assert!(status["why"].as_str().unwrap().contains("NVIDIA container toolkit"), "{status:#}");
    space.leaves_nothing("digits");
}
