//! The agent as the first process of a pod: it reaps what nobody waits for, and ends when it is asked to.

use lockstep_e2e::Workspace;
use lockstep_job::{Source, parse};
use rustix::process::Signal;

/// Leaves twenty orphans that end at once, and says so when each of them was there and is gone: one that nobody reaps
/// stays in /proc.
const PROGRAM: &str = r#"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (sh -c 'echo $$ >> orphans' &); done
until [ "$(wc -l < orphans)" = 20 ]; do sleep 0.01; done
for pid in $(cat orphans); do while [ -e /proc/$pid ]; do sleep 0.01; done; done
echo reaped below $(cat /proc/1/comm)
exec sleep 1000
"#;

#[test]
fn it_reaps_orphans_and_stops_with_143() {
    let ws = Workspace::new();
    ws.write("program.sh", PROGRAM);
    let text = "name: pod\nnodes: 1\ncommand: [sh, program.sh]\nrecovery: { grace: 10s }\n";
    let job = parse(&Source { path: "job.yaml".into(), text: text.into() }, &[]).unwrap();
    ws.write("job.json", &serde_json::to_string(&job).unwrap());
    let around = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let words =
        "run --run-dir d --job job.json --node 0 --launch test --launched-at 0 --host 127.0.0.1 --scratch s";
    let mut pod = ws.start_in(&around, "lockstep-agent", words);
    pod.wait_until("the orphans are reaped", || {
        let out = ws.run("logs d").stdout;
        out.contains("reaped below lockstep-agent").then_some(())
    });
    let agent = pod.processes("lockstep-agent", 1)[0];
    pod.signal_descendant(agent, Signal::TERM);
    let marker = pod.marker.clone();
    pod.finish().expect_code(143);
    marker.expect_none_left();
}
