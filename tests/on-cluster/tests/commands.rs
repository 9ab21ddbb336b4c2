//! What is asked of a run, and done to it, while it lives.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, image};
use lockstep_e2e::Workspace;
use rustix::process::Signal;
use std::process::Command;

#[test]
fn a_watched_status_tells_a_run_from_its_start_to_its_end() {
    let space = Space::new("watched");
    let mut all = space.start(&format!("status --watch -n {}", space.name));
    let run =
        space.run(&format!("launch {}", space.digits("digits", "--set kubernetes.ttl=1h"))).expect_code(0);
    assert!(run.stderr.contains("s after launch"), "{}", run.stderr);
    for text in ["digits  starting", "digits  running  2/2", "digits  done", "660/660"] {
        all.wait_for_stdout(text);
    }
    let mut one = space.start(&format!("status digits --watch -o yaml -n {}", space.name));
    one.wait_for_stdout("phase: done");
    space.run(&format!("delete digits -n {}", space.name)).expect_code(0);
    for watch in [all, one] {
        watch.signal(Signal::INT);
        watch.finish().expect_code(130);
    }
}

/// Nobody but the agents sees the storage, and it may be older than everything on the cluster.
#[test]
fn another_job_under_the_name_of_one_that_was_deleted_does_not_get_its_checkpoints() {
    let space = Space::new("another");
    space.run(&format!("launch {}", space.digits("digits", ""))).expect_code(0);
    space.run(&format!("delete digits -n {}", space.name)).expect_code(0);
    let other = space.digits("digits", "--set data.seed=7");
    let refused = space.run(&format!("launch {other}")).expect_code(1);
    for words in ["run digits holds another job: data.seed differ", "--fresh"] {
        assert!(refused.stderr.contains(words), "no {words:?} in:\n{}", refused.stderr);
    }
    let over = space.run(&format!("launch {other} --fresh")).expect_code(0);
    assert!(over.stderr.contains("from step 0"), "{}", over.stderr);
    space.leaves_nothing("digits");
}

#[test]
fn events_hold_what_the_cluster_warned_of() {
    let space = Space::new("warned");
    let nowhere = space.digits("digits", r#"--wait=created --set kubernetes.nodeSelector={"disk":"none"}"#);
    space.run(&format!("launch {nowhere}")).expect_code(0);
    space.wait_for_status("digits", "it waits", |s| {
        s["why"].as_str().is_some_and(|w| w.contains("unschedulable"))
    });
    let events = space.run(&format!("events digits -n {}", space.name)).expect_code(0).stdout;
    assert!(events.contains("FailedScheduling: 0/") && events.contains("node 1"), "{events}");
}

#[test]
fn the_log_of_a_pod_that_was_replaced_is_still_there() {
    let space = Space::new("previous");
    let mut launch = space.start(&format!("launch {}", program(&space, "waits", WAITS)));
    launch.wait_for_text("[rank 1] waits");
    // More lines than a status reads.
    let runs = |generation: u64| {
        move |s: &serde_json::Value| {
            s["phase"] == "running" && s["generation"] == generation && s["nodes"][0] == 2
        }
    };
    let first = space.wait_for_status("tools", "it runs", runs(1));
    assert_eq!(first["restarts"], 0, "{first:#}");
    let pod = space.pod("tools", 1);
    space.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    launch.wait_for_text(&format!("lost       node 1: pod {pod}"));
    launch.wait_for_text("generation 2: nodes 0,1");
    let second = space.wait_for_status("tools", "it runs again", runs(2));
    assert_eq!(second["restarts"], 1, "{second:#}");
    let previous = space.run(&format!("logs tools --previous -n {}", space.name)).expect_code(0).stdout;
    assert!(previous.contains("[rank 1] waits") && !previous.contains("[rank 0]"), "{previous}");
    space.run(&format!("delete tools -n {}", space.name)).expect_code(0);
    launch.finish().expect_code(4);
}

#[test]
fn an_agent_that_is_killed_twice_waits_for_the_kubelet_and_leaves_its_log() {
    let space = Space::new("twice");
    let mut launch = space.start(&format!("launch {}", program(&space, "waits", WAITS)));
    launch.wait_for_text("[rank 1] waits");
    let pod = space.pod("tools", 1);
    let runs = |generation: u64| {
        move |s: &serde_json::Value| {
            s["phase"] == "running" && s["generation"] == generation && s["nodes"][0] == 2
        }
    };
    space.kill_agent("tools", 1);
    launch.wait_for_text(&format!("lost       node 1: the agent of pod {pod} left with exit code 137"));
    space.wait_for_status("tools", "it runs again", runs(2));
    let previous = space.run(&format!("logs tools --previous -n {}", space.name)).expect_code(0).stdout;
    assert!(previous.contains("[rank 1] waits") && !previous.contains("[rank 0]"), "{previous}");
    // The first death in ten minutes costs nothing, the next one 10 s.
    space.kill_agent("tools", 1);
    let told = "for the agent of node 1, which left with exit code 137, to come back in its pod: after deaths \
                one upon another the kubelet waits, now 10s (CrashLoopBackOff)";
    launch.wait_for_text(told);
    let waits = space.status("tools");
    assert!(waits["phase"] == "starting" && waits["why"].as_str() == Some(told), "{waits:#}");
    let third = space.wait_for_status("tools", "it runs once more", runs(3));
    assert_eq!((&third["restarts"], space.pod("tools", 1)), (&2.into(), pod), "{third:#}");
    let events = space.run(&format!("events tools -n {}", space.name)).expect_code(0).stdout;
    assert!(events.contains("BackOff: Back-off restarting failed container agent"), "{events}");
    space.run(&format!("delete tools -n {}", space.name)).expect_code(0);
    launch.finish().expect_code(4);
}

#[test]
fn a_run_is_ended_at_once_and_loses_what_it_had_not_saved() {
    let space = Space::new("now");
    let job = space.long("digits", 6_000, "");
    let mut launch = space.start(&format!("launch {job}"));
    launch.wait_for_text("checkpoint 1000");
    space.run(&format!("cancel digits --now -n {}", space.name)).expect_code(0);
    launch.finish().expect_code(4);
    let stopped = space.status("digits");
    assert_eq!(stopped["phase"], "stopped", "{stopped:#}");
    space.run(&format!("launch {job}")).expect_code(0);
    assert_eq!(space.status("digits")["step"], 6_000);
    let list =
        space.run(&format!("checkpoint list {}/digits -o json", space.storage())).expect_code(0).json();
    let odd = list.as_array().unwrap().iter().filter(|c| c["step"].as_u64().is_some_and(|s| s % 1_000 != 0));
    assert_eq!(odd.count(), 0, "it saved on its way out: {list:#}");
}

#[test]
fn a_run_gets_more_nodes_and_fewer() {
    let space = Space::new("scaled");
    let job = space.long("digits", 100_000, "--set kubernetes.ttl=1h");
    let place = format!("-n {}", space.name);
    space.run(&format!("launch {job} --wait=first-step")).expect_code(0);
    let refused = space.run(&format!("scale digits --nodes 3 {place}")).expect_code(2);
    assert!(refused.stderr.contains("train.globalBatch"), "{}", refused.stderr);
    let undisturbed = space.status("digits");
    assert_eq!(
        (&undisturbed["phase"], &undisturbed["restarts"]),
        (&"running".into(), &0.into()),
        "{undisturbed:#}"
    );
    for nodes in [4, 1] {
        let before = space.status("digits")["step"].as_u64().unwrap();
        space.run(&format!("scale digits --nodes {nodes} {place}")).expect_code(0);
        let after = space.wait_for_status("digits", "it goes on", |s| s["phase"] == "running");
        assert_eq!(after["nodes"], serde_json::json!([nodes, nodes]), "{after:#}");
        assert!(after["step"].as_u64().unwrap() >= before, "{after:#}");
        let ttl = space.kubectl(&["get", "job", "digits", "-o", "jsonpath={.spec.ttlSecondsAfterFinished}"]);
        assert_eq!(ttl, "3600", "what launch adds to the Job, scale adds too");
    }
    let same = space.run(&format!("scale digits --nodes 1 {place}")).expect_code(2);
    assert!(same.stderr.contains("1 nodes already"), "{}", same.stderr);
    space.run(&format!("delete digits {place}")).expect_code(0);
    assert_eq!(space.objects(), Vec::<String>::new());
}

#[test]
fn a_folder_and_a_command_are_a_job() {
    let space = Space::new("synced");
    let job = program(&space, "train", READS);
    let code = space.workspace.path("train");
    std::fs::create_dir(code.join("data")).unwrap();
    for (name, text) in
        [("data/words.txt", "as written here"), (".gitignore", "*.c\nsecret\n"), ("secret", "no")]
    {
        std::fs::write(code.join(name), text).unwrap();
    }
    let done = space.run(&format!("launch {job}")).expect_code(0);
    assert!(done.stderr.contains("code       3 files"), "{}", done.stderr);
    let logs = space.run(&format!("logs tools -n {}", space.name)).expect_code(0).stdout;
    for rank in [0, 1] {
        let said = format!("[rank {rank}] of 2 read: as written here, no secret");
        assert!(logs.contains(&said), "{logs}");
    }
    std::fs::write(code.join("data/words.txt"), "as changed").unwrap();
    let again = space.run(&format!("launch {job}")).expect_code(0);
    assert!(!again.stderr.contains("has already finished"), "{}", again.stderr);
    let logs = space.run(&format!("logs tools -n {}", space.name)).expect_code(0).stdout;
    assert!(logs.contains("read: as changed"), "{logs}");
}

/// Compiles a program into a folder of its own, and says how to launch it on two nodes.
fn program(space: &Space, name: &str, text: &str) -> String {
    let folder = space.workspace.path(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("program.c"), text).unwrap();
    let compiled =
        Command::new("cc").current_dir(&folder).args(["-static", "-o", name, "program.c"]).status();
    assert!(compiled.unwrap().success());
    let image = image();
    format!(
        "--name tools --image {image} --agent-image {image} --nodes 2 --storage {} -n {} --set kubernetes.secrets=[{{\"name\":\"s3\"}}] --sync {} -- ./{name}",
        space.storage(),
        space.name,
        folder.display()
    )
}

/// Says who it is and what it finds beside itself.
const READS: &str = r#"
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  char words[64] = "";
  FILE *file = fopen("data/words.txt", "r");
  if (file == NULL || fgets(words, sizeof words, file) == NULL) return 3;
  const char *secret = fopen("secret", "r") == NULL ? "no secret" : "a secret";
  printf("of %s read: %s, %s\n", getenv("WORLD_SIZE"), words, secret);
  return 0;
}
"#;

/// Prints a lot, and goes on until it is told to end.
const WAITS: &str = r#"
#include <stdio.h>
#include <unistd.h>

int main(void) {
  for (int line = 0; line < 1000; line++) printf("line %d\n", line);
  puts("waits");
  fflush(stdout);
  pause();
  return 0;
}
"#;

#[test]
fn the_status_of_a_run_whose_pods_are_gone_is_read_from_its_storage() {
    let space = Space::new("gone");
    space.run(&format!("launch {}", space.digits("digits", ""))).expect_code(0);
    let before = space.status("digits");
    space.kubectl(&["delete", "pod", "--all", "--wait"]);
    let after = space.status("digits");
    for fact in ["phase", "step", "total_steps", "loss", "eval", "run_dir"] {
        assert_eq!(after[fact], before[fact], "{fact}: {after:#}");
    }
    assert_eq!((&after["phase"], &after["step"]), (&"done".into(), &660.into()), "{after:#}");
    // A laptop without the bucket's key hears why there is so little.
    let mut laptop = Workspace::new();
    laptop.set_env("AWS_SECRET_ACCESS_KEY", "wrong");
    let status = laptop.run(&format!("status digits -n {} -o json", space.name)).expect_code(0).json();
    assert_eq!(status["phase"], "done", "{status:#}");
    assert!(
        status["why"].as_str().is_some_and(|why| why.contains("can't be read from this machine")),
        "{status:#}"
    );
}

#[test]
fn a_dry_run_hears_what_a_launch_would_hear() {
    let space = Space::new("dry-run");
    let (job, dry) = (space.digits("digits", ""), "--dry-run=server --output json");
    let would = |options: &str| space.run(&format!("launch {job} {options} {dry}")).expect_code(0).json();
    let first = would("");
    assert_eq!(
        (&first["would"], &first["warnings"]),
        (&"start".into(), &serde_json::Value::Null),
        "{first:#}"
    );
    assert_eq!(space.objects(), Vec::<String>::new());
    space.cluster(&["label", "namespace", &space.name, "pod-security.kubernetes.io/warn=restricted"]);
    let warned = would(r#"--set kubernetes.podOverlay={"spec":{"hostNetwork":true}}"#);
    assert!(warned["warnings"][0].as_str().unwrap().contains("hostNetwork=true"), "{warned:#}");
    space.run(&format!("launch {job}")).expect_code(0);
    assert_eq!(would("")["would"], "nothing");
    // The ended Job is still there, and its pods can't be changed: a launch takes it away first.
    assert_eq!(would("--fresh")["would"], "start");
    space.run(&format!("doctor {job}")).expect_code(0);
    let other = space.run(&format!("launch {job} --set train.seed=9 --dry-run=server")).expect_code(2);
    assert!(other.stderr.contains("holds another job"), "{}", other.stderr);
    space.run(&format!("delete digits -n {}", space.name)).expect_code(0);

    space.kubectl(&["create", "service", "clusterip", "digits", "--tcp=80"]);
    let strange = space.run(&format!("launch {job} --dry-run=server")).expect_code(2);
    assert!(strange.stderr.contains("Service digits") && strange.stderr.contains("is not Lockstep's"));
    let schedule = r#"--set name=nightly --set kubernetes.schedule={"cron":"@yearly"}"#;
    assert_eq!(would(schedule)["would"], "start");
    space.run(&format!("launch {job} {schedule}")).expect_code(0);
    let taken = space.run(&format!("launch {job} --set name=nightly --dry-run=server")).expect_code(2);
    assert!(taken.stderr.contains("is scheduled on the cluster"), "{}", taken.stderr);
}
