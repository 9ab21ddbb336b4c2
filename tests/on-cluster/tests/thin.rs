//! A run from its command to its end, and everything that is asked about it.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{PATIENCE, Space, image, variable};
use lockstep_e2e::wait_for;
use rustix::process::Signal;

#[test]
fn a_run_is_launched_watched_asked_about_and_taken_away() {
    let space = Space::new("thin");
    let job = space.digits("digits", "");
    let manifests = space.run(&format!("render {job}")).expect_code(0).stdout;
    let (accepted, said) = space.pipe(&manifests, &["apply", "--server-side", "--dry-run=server", "-f", "-"]);
    assert!(accepted, "{said}");

    let done = space.run(&format!("launch {job} --wait --output json")).expect_code(0);
    let result = done.json();
    assert_eq!((&result["phase"], &result["step"]), (&"done".into(), &660.into()), "{result:#}");
    assert!(result["eval"]["accuracy"].as_f64().unwrap() > 0.95, "{result:#}");
    for phase in ["created", "scheduled  2 of 2 pods", "started    2 of 2 pods", "s after launch"] {
        assert!(done.stderr.contains(phase), "no {phase:?} in:\n{}", done.stderr);
    }
    let first_step =
        format!("first step {:.2} s after", result["time_to_first_step_seconds"].as_f64().unwrap());
    assert!(done.stderr.contains(&first_step), "no {first_step:?} in:\n{}", done.stderr);
    let formed = done.stderr.lines().find(|line| line.contains("formed")).unwrap();
    let (_, took) = formed.split_once("launched  ").unwrap_or_else(|| panic!("no time in: {formed}"));
    assert!(took.trim_end_matches('s').parse::<f64>().unwrap() > 0.0, "{formed}");
    // Nothing is said of the pods that the Job takes away because the run is done.
    assert!(!done.stderr.contains("lost") && !done.stderr.contains("leaving"), "{}", done.stderr);

    // Node 0 was the first to leave, and its log, which tells of the whole run, is kept.
    let left = [
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].metadata.annotations.batch\\.kubernetes\\.io/job-completion-index}",
    ];
    wait_for("node 0's pod and no other", PATIENCE, || (space.kubectl(&left).trim() == "0").then_some(()));

    let status = space.status("digits");
    assert_eq!((&status["phase"], &status["generation"]), (&"done".into(), &1.into()), "{status:#}");
    let folder = format!("{}/digits", space.storage());
    assert_eq!(status["run_dir"], folder, "{status:#}");
    let all = space.run(&format!("status -n {}", space.name)).expect_code(0).stdout;
    assert!(all.contains("digits  done") && all.contains("660/660"), "{all}");
    let nothing = space.run(&format!("logs digits --rank 1 -n {}", space.name)).expect_code(0);
    assert!(nothing.stderr.contains("no output of rank 1"), "{}", nothing.stderr);
    let events = space.run(&format!("events digits -n {}", space.name)).expect_code(0).stdout;
    assert!(
        events.contains("joined as incarnation 1") && events.contains("all workers are done"),
        "{events}"
    );

    let (_, difference) = space.pipe(&manifests, &["diff", "--server-side", "-f", "-"]);
    assert_eq!(difference, "", "render and launch make different objects");

    let again = space.run(&format!("launch {job}")).expect_code(0);
    assert!(again.stderr.contains("has already finished"), "{}", again.stderr);
    let other = space.run(&format!("launch {job} --set model.hidden=[64]")).expect_code(2);
    assert!(other.stderr.contains("model.hidden"), "{}", other.stderr);
    space.run(&format!("launch {job} --fresh")).expect_code(0);

    space.run(&format!("delete digits -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
    space.run(&format!("checkpoint verify {folder}")).expect_code(0);
}

#[test]
fn who_leaves_leaves_it_running_and_who_comes_back_finds_it() {
    let space = Space::new("attach");
    let job = space.long("digits", 500_000, "");
    let mut first = space.start(&format!("launch {job}"));
    first.wait_for_text("s after launch");
    let other = space.run(&format!("launch {job} --set train.globalBatch=32")).expect_code(2);
    assert!(
        other.stderr.contains("train.globalBatch") && other.stderr.contains("lockstep cancel digits"),
        "{}",
        other.stderr
    );
    first.signal(Signal::INT);
    let left = first.finish().expect_code(130);
    assert!(left.stderr.contains("the run goes on"), "{}", left.stderr);
    space.wait_for_status("digits", "it runs", |status| status["phase"] == "running");
    // What anybody without the run's key gets from an agent: that it is well, and nothing else.
    let port = format!("/api/v1/namespaces/{}/pods/{}:29400/proxy", space.name, space.pod("digits", 0));
    let (well, answer) = space.pipe("", &["get", "--raw", &format!("{port}/healthz")]);
    assert!(well && answer.contains("leads generation"), "{answer}");
    let (known, answer) = space.pipe("", &["get", "--raw", &format!("{port}/checkpoints")]);
    assert!(!known && answer.contains("NotFound"), "{answer}");

    let mut second = space.start(&format!("launch {job}"));
    second.wait_for_text("is running already");
    second.wait_for_text("step ");
    let cancelled = space.run(&format!("cancel digits -n {}", space.name)).expect_code(0);
    assert!(cancelled.stdout.contains("lockstep resume digits"), "{}", cancelled.stdout);
    let told = second.finish().expect_code(4);
    assert!(told.stderr.contains("suspended"), "{}", told.stderr);
    let stopped = space.status("digits");
    assert_eq!(stopped["phase"], "stopped", "{stopped:#}");

    space.run(&format!("resume digits -n {}", space.name)).expect_code(0);
    let running = space.wait_for_status("digits", "it goes on", |status| status["phase"] == "running");
    assert!(
        running["step"].as_u64() >= stopped["last_checkpoint"]["step"].as_u64(),
        "{running:#}\n{stopped:#}"
    );
    space.run(&format!("delete digits -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}

#[test]
fn a_wait_until_created_or_the_first_step_ends_there() {
    let space = Space::new("until");
    let job = space.long("digits", 500_000, "--set log.every=50steps");
    let created = space.run(&format!("launch {job} --wait=created")).expect_code(0);
    assert!(created.stderr.contains("attach: lockstep launch"), "{}", created.stderr);
    let first_step = space.run(&format!("launch {job} --wait=first-step")).expect_code(0);
    assert!(first_step.stderr.contains("started  first step"), "{}", first_step.stderr);
    // Who comes so late that the line of the first step is no longer among those that an attaching launch reads.
    let pod = space.pod("digits", 0);
    let lines = || space.kubectl(&["logs", &pod]).lines().count();
    wait_for("more lines than are read", PATIENCE, || (lines() > 60).then_some(()));
    let late = space.run(&format!("launch {job} --wait=first-step")).expect_code(0);
    assert!(late.stderr.contains("the run goes on"), "{}", late.stderr);
}

#[test]
fn a_scheduled_job_makes_a_run_of_its_own_each_time() {
    let space = Space::new("cron");
    let yearly = r#"--set kubernetes.schedule={"cron":"@yearly"} --set warmStart={"kind":"previous"}"#;
    let job = space.digits("nightly", yearly);
    let scheduled = space.run(&format!("launch {job}")).expect_code(0);
    assert!(scheduled.stdout.contains("scheduled nightly"), "{}", scheduled.stdout);
    for run in ["nightly-1", "nightly-2"] {
        space.kubectl(&["create", "job", "--from=cronjob/nightly", run]);
        space.kubectl(&["wait", "--for=condition=Complete", &format!("job/{run}"), "--timeout=120s"]);
        let status = space.status(run);
        assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &660.into()), "{status:#}");
        assert_eq!(status["run_dir"], format!("{}/{run}", space.storage()), "{status:#}");
    }
    // The second begins with what the first one learned.
    assert_ne!(space.model_hash("nightly-1"), space.model_hash("nightly-2"));
    let events = |run: &str| space.run(&format!("events {run} -n {}", space.name)).expect_code(0).stdout;
    assert!(events("nightly-1").contains("from step 0;"), "{}", events("nightly-1"));
    let warm = "from step 0, with the parameters of nightly-1 at step 660;";
    assert!(events("nightly-2").contains(warm), "{}", events("nightly-2"));

    let asked = space.run(&format!("status nightly -n {}", space.name)).expect_code(2).stderr;
    assert!(asked.contains("is a schedule") && asked.contains("nightly-1, nightly-2"), "{asked}");
    let once = space.run(&format!("launch {}", space.digits("nightly", ""))).expect_code(2).stderr;
    assert!(once.contains("nightly is scheduled") && once.contains("lockstep delete nightly"), "{once}");
    // What the cluster refuses leaves the schedule as it is.
    let nowhere = r#"--set kubernetes.schedule={"cron":"@yearly","timeZone":"Nowhere/None"}"#;
    let refused = space.run(&format!("launch {}", space.digits("nightly", nowhere))).expect_code(1).stderr;
    assert!(refused.contains("Nowhere/None"), "{refused}");
    space.kubectl(&["get", "service/nightly", "cronjob/nightly"]);
    // The job file that the two runs began with stays, and that of the change before the last doesn't.
    for steps in [100, 200] {
        let changed = format!("{yearly} --set train.steps={steps}");
        space.run(&format!("launch {}", space.digits("nightly", &changed))).expect_code(0);
    }
    let files = ["get", "configmaps", "-l", "lockstep.dev/job=nightly", "-o", "name"];
    assert_eq!(space.kubectl(&files).lines().count(), 2);

    // A run that was made by hand doesn't hold its schedule back; it and its pod are gone with it all the same.
    space.run(&format!("launch {}", space.long("nightly", 1_000_000, yearly))).expect_code(0);
    space.kubectl(&["create", "job", "--from=cronjob/nightly", "nightly-3"]);
    space.wait_for_status("nightly-3", "the run's first step", |status| status["phase"] == "running");
    space.run(&format!("delete nightly -n {}", space.name)).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}

#[test]
fn the_agent_is_brought_into_an_image_that_has_nothing_but_a_program() {
    let space = Space::new("inject");
    // A static program alone in its image: it ends well once it has reached what it is told to.
    let store = variable("AWS_ENDPOINT_URL").replace("http://", "");
    let command = format!("[/peer, '7000', '0', '{store}']");
    let brought = format!("  agentImage: {}\n", image());
    let job = space.command_in("lockstep.test/tools:1", "alone", &command, &brought);
    space.run(&format!("launch -f {job}")).expect_code(0);
    let logs = space.run(&format!("logs alone --rank 1 -n {}", space.name)).expect_code(0).stdout;
    assert!(logs.contains("[rank 1] ") && logs.contains(&format!("reached {store}")), "{logs}");
}
