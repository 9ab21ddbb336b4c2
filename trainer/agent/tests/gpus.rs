//! Workers that say on which GPUs they compute: exactly those are watched, once all of a node have spoken. The workers are this
//! program, and what watches is a script; neither knows a GPU.

#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_run::link::{self, AgentMsg, Phase, WorkerMsg};
use lockstep_run::{Gpu, GpuLine, GpuUuid, NodeId, RunDir, Step};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when the test ends, however it does; what it started dies with it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_gpus_that_workers_take_are_watched_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let agent = at("lockstep-agent");
    if std::fs::hard_link(env!("CARGO_BIN_EXE_lockstep-agent"), &agent).is_err() {
        std::fs::copy(env!("CARGO_BIN_EXE_lockstep-agent"), &agent).unwrap();
    }
    let gpu = Gpu { index: Some(7), uuid: "GPU-7".to_owned(), ..Gpu::default() };
    let line = serde_json::to_string(&GpuLine::Gpus(vec![gpu.clone()])).unwrap();
    let asked = at("asked").display().to_string();
    script(&at("lockstep-gpu"), &format!("echo \"$@\" >> {asked}\necho '{line}'\nexec sleep 1000"));
    let this = std::env::current_exe().unwrap();
    script(&at("worker"), &format!("exec {} --ignored --exact worker", this.display()));
    let data = serde_json::json!({ "train": { "uri": "/nowhere", "split": "train" } });
    let job = serde_json::json!({
        "name": "gpus", "ranksPerNode": 2, "worker": at("worker"), "model": { "kind": "mlp" }, "data": data,
        "train": { "steps": 10 },
    });
    std::fs::write(at("job.json"), job.to_string()).unwrap();
    let run = at("run").display().to_string();
    let mut command = Command::new(agent);
    command.args(["run", "--run-dir", &run, "--node", "0", "--launch", "a", "--host", "127.0.0.1"]);
    command.arg("--job").arg(at("job.json")).arg("--scratch").arg(at("scratch"));
    let _agent = Agent(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());

    let dir = RunDir::open(&run).unwrap();
    let since = Instant::now();
    let status = loop {
        assert!(since.elapsed() < PATIENCE, "nobody told of a GPU");
        match dir.status(Duration::from_secs(2)).await {
            Ok(Some(status)) if !status.gpus.is_empty() => break status,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!((status.gpus.len(), status.gpus[0].node, &status.gpus[0].gpu), (1, NodeId(0), &gpu));
    let elapsed = 2.0 * since.elapsed().as_secs_f64();
    assert!(status.gpu_seconds.is_some_and(|seconds| seconds > 0.0 && seconds <= elapsed), "{status:?}");
    let asked = std::fs::read_to_string(asked).unwrap();
    let mut asked: Vec<_> = asked.split_whitespace().collect();
    asked.sort_unstable();
    assert_eq!(asked, [uuid(0), uuid(1)].map(|uuid| format!("--gpu={uuid}")), "one helper, for both");
}

fn uuid(local_rank: u32) -> GpuUuid {
    GpuUuid([local_rank as u8; 16])
}

/// What the test's workers are: one comes later than the other, and both train for ever.
#[tokio::test]
#[ignore = "a part of the other test"]
async fn worker() {
    let Ok(socket) = std::env::var(link::ENV) else { return };
    let local_rank: u32 = std::env::var("LOCAL_RANK").unwrap().parse().unwrap();
    let (mut receiver, mut sender) = link::split(UnixStream::connect(socket).await.unwrap());
    sender.send(&WorkerMsg::Hello { pid: std::process::id(), local_rank }).await.unwrap();
    assert!(matches!(receiver.recv().await, Ok(Some(AgentMsg::Start(_)))));
    let mut num = 0;
    while sender.send(&WorkerMsg::Heartbeat { step: Step(num), phase: Phase::Training }).await.is_ok() {
        if num == u64::from(local_rank) * 15 {
            sender.send(&WorkerMsg::Computes { gpu: Some(uuid(local_rank)) }).await.unwrap();
        }
        num += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
