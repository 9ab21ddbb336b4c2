//! What a node's processes may do to one another and to the agent: print without end, fail beside others, be called by strangers.

use lockstep_e2e::{Launched, Workspace, wait_for};
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// The largest that a process was, in MiB.
fn peak_mib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn output_without_end_costs_neither_memory_nor_a_generation() {
    let ws = Workspace::new();
    let floods = [
        "head -c 80000000 /dev/zero | tr '\\0' x",
        "yes 0123456789012345678901234567890123456789 | head -c 80000000",
    ];
    for flood in floods {
        ws.write(
            "job.yaml",
            &format!(
                "name: flood\nranksPerNode: 2\ncommand: [sh, -c, \"{}; echo finished\"]\n",
                flood.replace('\\', "\\\\")
            ),
        );
        let mut launch = ws.start("launch -f job.yaml --local --fresh");
        let mut peak = 0;
        let launch_agents = launch.marker.clone();
        let events = ws.path("runs/flood/membership");
        launch.wait_until("the run is over", || {
            let agents = launch_agents.find("lockstep-agent");
            peak = agents.into_iter().map(peak_mib).max().unwrap_or(0).max(peak);
            fs::read_dir(&events)
                .ok()?
                .flatten()
                .any(|record| fs::read_to_string(record.path()).is_ok_and(|text| text.contains("\"done\"")))
                .then_some(())
        });
        launch.finish().expect_code(0);
        assert!(peak > 0 && peak < 200, "an agent had {peak} MiB");
        let status = ws.run("status flood -o json").expect_code(0).json();
        let status = if status.is_array() { status[0].clone() } else { status };
        assert_eq!(status["restarts"], 0, "{status}");
        let log = ws.run("logs flood --rank 1").expect_code(0).stdout;
        assert!(
            log.contains("finished") || log.contains("were left out"),
            "the end is there, or told to be missing"
        );
        fs::remove_dir_all(ws.path("runs/flood")).unwrap();
    }
}

#[test]
fn ranks_of_a_command_are_asked_to_leave_when_a_neighbour_failed() {
    let ws = Workspace::new();
    let script = "if [ $RANK = 0 ]; then trap 'echo asked > asked; exit 1' TERM; touch ready; while :; do sleep 0.05; done; fi; \
                  while [ ! -e ready ]; do sleep 0.05; done; [ -e asked ] || exit 3; sleep 1; exit 0";
    ws.write(
        "job.yaml",
        &format!(
            "name: two\nranksPerNode: 2\nrecovery: {{ sameCause: 2 }}\ncommand: [sh, -c, \"{script}\"]\n"
        ),
    );
    let mut launch = ws.start("launch -f job.yaml --local");
    let asked = ws.path("asked");
    launch.wait_until("rank 0 was asked to leave", || asked.exists().then_some(()));
}

fn agent_port(ws: &Workspace, run: &str) -> u16 {
    let join = wait_for("the agent joined", Duration::from_secs(60), || {
        fs::read_to_string(ws.path(&format!("runs/{run}/nodes/0/0001.json"))).ok()
    });
    let join: serde_json::Value = serde_json::from_str(&join).unwrap();
    join["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn strangers_who_call_and_say_nothing_end_no_run() {
    let ws = Workspace::new();
    ws.write(
        "job.yaml",
        "name: called\nranksPerNode: 2\ncommand: [sh, -c, 'sleep 0.2; [ -e go ] || exec sleep 600']\n",
    );
    let mut launch = ws.start_in(&["prlimit", "--nofile=200:200"], "lockstep", "launch -f job.yaml --local");
    let port = agent_port(&ws, "called");
    launch.wait_until("the workers run", || (launch_sleeps(&ws) == 2).then_some(()));
    let strangers: Vec<_> = (0..600).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    assert!(strangers.len() > 250, "{} connections", strangers.len());
    ws.write("go", "");
    // A worker dies while they hold on: the next generation must find descriptors to start its own with.
    let marker = launch.marker.clone();
    let victim = launch.wait_until("a worker is there", || marker.find("sleep").first().copied());
    launch.signal_descendant(victim, Signal::KILL);
    let ended = launch.finish().expect_code(0);
    assert!(ended.stdout.contains("done"), "{}", ended.stdout);
    assert!(!ended.stderr.contains("hangs"), "{}", ended.stderr);
    drop(strangers);
}

fn launch_sleeps(ws: &Workspace) -> usize {
    // Each worker of this test's run has its working folder here.
    let here = fs::canonicalize(ws.path(".")).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let sleeps = |p: &std::path::PathBuf| {
        fs::read_link(p.join("cwd")).is_ok_and(|cwd| cwd == here)
            && fs::read(p.join("cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x00600"))
    };
    processes.filter(sleeps).count()
}

fn socket_folder(launch: &mut Launched) -> std::path::PathBuf {
    let worker = launch.processes("sleep", 1)[0];
    let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
    let link = environment.split(|b| *b == 0).find_map(|v| v.strip_prefix(b"LOCKSTEP_LINK=")).unwrap();
    std::path::Path::new(std::str::from_utf8(link).unwrap()).parent().unwrap().to_owned()
}

#[test]
fn sockets_are_this_users_alone_whatever_the_umask() {
    let ws = Workspace::new();
    ws.write("job.yaml", "name: open\ncommand: [sleep, '600']\n");
    let around = ["sh", "-c", "umask 000; exec \"$0\" \"$@\""];
    let mut launch = ws.start_in(&around, "lockstep", "launch -f job.yaml --local");
    let folder = socket_folder(&mut launch);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
}

#[test]
fn a_long_folder_for_temporary_files_and_a_long_run_folder_work() {
    let mut ws = Workspace::new();
    let long = ws.path(&"x".repeat(95));
    fs::create_dir(&long).unwrap();
    ws.set_env("TMPDIR", long.to_str().unwrap());
    ws.write("job.yaml", "name: long\ncommand: [sh, -c, 'echo works']\n");
    let dir = format!("{}/{}", "y".repeat(200), "z".repeat(200));
    ws.run(&format!("launch -f job.yaml --local --run-dir {dir}")).expect_code(0);
}
