//! What GPUs do, from a stand-in for the driver's library to `status`. No GPU computes anything here: a user's command runs in a
//! pod that was promised two.

use lockstep_e2e::{Launched, Marker, Workspace, binary, repository};
use lockstep_job::{Source, parse};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A folder with the driver's library and a job of `nodes` nodes that runs `program` for each.
fn workspace(nodes: u32, program: &str) -> Workspace {
    let mut ws = Workspace::new();
    let source = repository().join("trainer/gpu/tests/nvml.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(ws.path("libnvidia-ml.so.1")).arg(source);
    assert!(cc.status().unwrap().success());
    let libtorch = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    ws.set_env("LD_LIBRARY_PATH", &format!("{}:{libtorch}", ws.path("").display()));
    ws.write("program.sh", program);
    let text = format!("name: gpus\nnodes: {nodes}\ncommand: [sh, program.sh]\n");
    let job = parse(&Source { path: "job.yaml".into(), text }, &[]).unwrap();
    ws.write("job.json", &serde_json::to_string(&job).unwrap());
    ws
}

fn words(launch: &str, node: u32) -> String {
    format!(
        "run --run-dir d --job job.json --node {node} --launch {launch} --host 127.0.0.1 --scratch s{node} --gpus 2"
    )
}

fn status(ws: &Workspace) -> Option<Value> {
    let told = ws.run("status d --output json");
    (told.code == Some(0)).then(|| told.json())
}

/// Waits until `num` GPUs are told of and the first of each node has its error; returns the status.
fn told(ws: &Workspace, agent: &mut Launched, num: usize) -> Value {
    agent.wait_until("the GPUs are told of", || {
        let status = status(ws)?;
        let gpus = status["gpus"].as_array()?;
        let failed = gpus.iter().filter(|gpu| gpu["xids"] == serde_json::json!([79])).count();
        (gpus.len() == num && failed == num / 2).then_some(status)
    })
}

#[test]
fn a_run_shows_what_the_gpus_of_all_nodes_do_and_for_how_long_it_had_them() {
    let ws = workspace(2, "exec sleep 1000\n");
    let mut agents = [0, 1].map(|node| ws.start_in(&[], "lockstep-agent", &words("first", node)));
    let shown = told(&ws, &mut agents[0], 4);
    let by_node: Vec<_> =
        shown["gpus"].as_array().unwrap().iter().map(|gpu| (&gpu["node"], &gpu["index"])).collect();
    assert_eq!(
        format!("{by_node:?}"),
        "[(Number(0), Number(0)), (Number(0), Number(1)), (Number(1), Number(0)), (Number(1), Number(1))]"
    );
    let first = &shown["gpus"][0];
    let figures = ["memory_used", "utilization", "sm_clock", "power", "temperature", "ecc_uncorrected"];
    let figures = figures.map(|name| first[name].as_u64().unwrap());
    assert_eq!(figures, [97 << 30, 97, 1830, 613, 88, 3]);
    assert!(shown["gpus"][1]["power"].is_null(), "what the driver doesn't tell is none");

    let wide = ws.run("status d --output wide").stdout;
    let lines: Vec<_> =
        wide.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let line = "1 0 NVIDIA H200 97.0/141GiB 97% 1830MHz 613W 88°C 3 79 power cap, hardware thermal slowdown";
    assert!(lines.iter().any(|shown| shown == line) && lines[0].contains("GPU TIME"), "{wide}");
    for node in [0, 1] {
        let events = agents[0].wait_until("the error is an event", || {
            let events = ws.run("events d").stdout;
            events
                .contains(&format!("GPU 0 of node {node} (NVIDIA H200) reported XID 79: it fell off the bus"))
                .then_some(events)
        });
        let hot = format!(
            "GPU 0 of node {node} (NVIDIA H200) is slowed down by hardware thermal slowdown, at 88 °C"
        );
        assert_eq!(events.matches(&hot).count(), 1, "{events}");
    }

    // What was counted survives the launch.
    let markers = agents.each_ref().map(|agent| agent.marker.clone());
    for agent in &agents {
        agent.signal(Signal::TERM);
    }
    for agent in agents {
        agent.finish().expect_code(143);
    }
    markers.iter().for_each(Marker::expect_none_left);
    let stopped = status(&ws).unwrap();
    let seconds = stopped["gpu_seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && stopped["gpus"] == serde_json::json!([]), "{stopped}");
    let mut agents = [0, 1].map(|node| ws.start_in(&[], "lockstep-agent", &words("second", node)));
    let shown = told(&ws, &mut agents[0], 4);
    assert!(shown["gpu_seconds"].as_f64().unwrap() > seconds, "{shown}");

    // Whoever watches ends with its agent, however that ends.
    for agent in &agents {
        agent.processes("lockstep-gpu", 1);
    }
    for agent in agents {
        let marker = agent.marker.clone();
        agent.signal(Signal::KILL);
        agent.finish();
        marker.expect_none_left();
    }
}

#[test]
fn a_driver_that_hangs_harms_no_run_and_leaves_nothing_behind() {
    let mut ws = workspace(1, "exec sleep 1000\n");
    ws.set_env("NVML_STANDS_STILL", "1");
    let mut agent = ws.start_in(&[], "lockstep-agent", &words("stands", 0));
    agent.processes("lockstep-gpu", 1);
    let running = agent.wait_until("it runs", || status(&ws).filter(|status| status["phase"] == "running"));
    assert_eq!(running["gpus"], serde_json::json!([]));
    // Nobody asks the helper to leave, and it never notices that nobody reads.
    let marker = agent.marker.clone();
    agent.signal(Signal::KILL);
    agent.finish();
    marker.expect_none_left();
}

#[test]
fn a_helper_that_fails_harms_no_run_and_is_told_once() {
    let told = |helper: Option<&str>| {
        let ws = workspace(1, "sleep 3\n");
        let agent = ws.path("lockstep-agent");
        if std::fs::hard_link(binary("lockstep-agent"), &agent).is_err() {
            std::fs::copy(binary("lockstep-agent"), &agent).unwrap();
        }
        if let Some(helper) = helper {
            let path = ws.write("lockstep-gpu", helper);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new(agent);
        command.args(words("once", 0).split_whitespace()).current_dir(ws.path(""));
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let events = ws.run("events d").stdout;
        events.lines().filter(|line| line.contains("aren't watched")).map(str::to_owned).collect::<Vec<_>>()
    };
    let cases = [
        ("#!/bin/sh\nexit 7\n", "lockstep-gpu: it ended"),
        ("#!/bin/sh\necho '{\"gpus\":[]}'\nexit 0\n", "lockstep-gpu: it ended"),
        ("#!/bin/sh\nwhile :; do echo nonsense; done\n", "lockstep-gpu: it can't be understood"),
        ("#!/bin/sh\nwhile :; do printf xxxxxxxxxxxxxxxx; done\n", "lockstep-gpu: it can't be understood"),
    ];
    std::thread::scope(|scope| {
        let broken = cases.map(|(helper, words)| (scope.spawn(move || told(Some(helper))), words));
        let hangs = scope.spawn(|| told(Some("#!/bin/sh\nexec sleep 1000\n")));
        let absent = scope.spawn(|| told(None));
        for (lines, words) in broken {
            let lines = lines.join().unwrap();
            assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}, not {words}");
        }
        assert_eq!(hangs.join().unwrap().len(), 0, "the run was over before anybody could tell");
        assert_eq!(absent.join().unwrap().len(), 0, "that is how the image was made");
    });
}
