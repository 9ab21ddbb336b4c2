//! Machines that aren't as most are: without IPv4, and with what killed launches left behind.

use lockstep_e2e::{Workspace, repository};
use std::path::Path;

/// A network namespace whose loopback has `::1` alone.
const IPV6_ONLY: &str = "ip link set lo up && ip address del 127.0.0.1/8 dev lo && exec \"$0\" \"$@\"";

#[test]
fn a_machine_whose_loopback_is_ipv6_only_trains() {
    let ws = Workspace::new();
    let around = ["unshare", "--map-root-user", "--net", "sh", "-c", IPV6_ONLY];
    let digits = repository().join("trainer/examples/digits.yaml");
    let words = format!(
        "launch -f {} --local --run-dir d --set nodes=2 --set ranksPerNode=2 --set train.steps=20 --set train.globalBatch=16",
        digits.display()
    );
    ws.start_in(&around, "lockstep", &words).finish().expect_code(0);
    let joined = ws.run("events d").expect_code(0).stdout;
    assert!(joined.contains("at [::1]:"), "{joined}");

    ws.write("job.yaml", "name: c\nnodes: 2\ncommand: [sh, -c, 'echo \"master $MASTER_ADDR\"']\n");
    let ended = ws.start_in(&around, "lockstep", "launch -f job.yaml --local --run-dir c").finish();
    assert!(ended.expect_code(0).stderr.contains("[rank 1] master ::1"));
}

fn entries(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn what_a_killed_launch_left_in_tmpdir_is_swept_by_the_next() {
    let mut ws = Workspace::new();
    let tmp = ws.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    ws.set_env("TMPDIR", &tmp.to_string_lossy());
    ws.write("job.yaml", "name: t\nnodes: 2\ncommand: [sh, -c, 'echo here; [ -e go ] || exec sleep 1000']\n");
    let launch = "launch -f job.yaml --local --run-dir d";
    let mut killed = ws.start(launch);
    killed.wait_for_text("[rank 1] here");
    killed.kill_everything();
    assert_eq!(entries(&tmp).len(), 3, "the launcher's and each agent's: {:?}", entries(&tmp));
    ws.write("go", "");
    ws.run(launch).expect_code(0);
    assert_eq!(entries(&tmp), [""; 0]);
}
