//! Worker processes on the committed digits, killed and resumed: the same bytes as a run that nobody disturbed.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_run::link::{AgentMsg, FailureKind, WorkerMsg, WorkerOutcome};
use lockstep_storage_testing::S3Server;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;
use support::Run;
use support::agent::Workers;

fn digits(nodes: u32, changes: Value) -> JobSpec {
    let uri = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../datasets/digits");
    let split = |name: &str| json!({"uri": uri.to_str().unwrap(), "split": name});
    support::job_from(
        json!({
            "name": "digits",
            "nodes": nodes,
            "model": {"kind": "mlp", "hidden": [32], "dropout": 0.2},
            "data": {"train": split("train"), "eval": split("test")},
            "train": {"steps": 40, "globalBatch": 64, "clipGradNorm": 1.0},
            "eval": {"every": "1000 steps"},
            "checkpoint": {"every": "10 steps"},
        }),
        changes,
    )
}

/// A run in a folder or bucket of its own, with the scratch folder of its node.
struct Case {
    run: Run,
    env: Vec<(&'static str, String)>,
    scratch: tempfile::TempDir,
}

impl Case {
    fn on_files(job: JobSpec) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let uri = scratch.path().join("run").to_str().unwrap().to_owned();
        Self { run: Run::new(job, uri), env: Vec::new(), scratch }
    }

    fn on_s3(job: JobSpec, server: &S3Server, folder: &str) -> Self {
        let mut case = Self { env: server.env(), ..Self::on_files(job) };
        case.run.uri = server.uri(folder);
        case.run.storage = Some(server.storage(folder, Duration::from_secs(30)));
        case
    }

    fn start(&self) -> Workers {
        let mut starts = self.run.starts();
        starts.iter_mut().for_each(|start| start.scratch = self.scratch.path().to_owned());
        Workers::start(
            Path::new(env!("CARGO_BIN_EXE_lockstep-worker")),
            starts,
            &self.env,
            self.scratch.path(),
        )
    }

    fn finish(&self) {
        for (rank, (word, status)) in self.start().finish().into_iter().enumerate() {
            assert_eq!(
                (word, status.code()),
                (WorkerOutcome::Done { step: Step(40) }, Some(0)),
                "rank {rank}"
            );
        }
    }
}

fn committed(step: u64) -> impl Fn(u32, &WorkerMsg) -> Option<()> {
    move |_, message| match message {
        WorkerMsg::CheckpointCommitted { step: Step(found), .. } if *found >= step => Some(()),
        _ => None,
    }
}

/// `kill -9` of all workers once a checkpoint is there, and again after the resumption.
fn survives_being_killed(mut case: Case) {
    let undisturbed = Case::on_files(case.run.job.clone());
    undisturbed.finish();
    for step in [10, 20] {
        let mut workers = case.start();
        // Past one checkpoint, and not on to the end before the signal comes.
        workers.tell_all(&AgentMsg::HoldAt { ask: 1, step: Step(step + 5) });
        workers.wait_for("checkpoint", committed(step));
        workers.kill();
        case.run = case.run.resume(step);
    }
    case.finish();
    let (expected, found) = (undisturbed.run.checkpoint(40), case.run.checkpoint(40));
    for file in ["model.safetensors", "optimizer.safetensors", "rng.safetensors"] {
        assert_eq!(expected[file], found[file], "{file} at {} ranks", case.run.job.world_size());
    }
    let cursor = |files: &std::collections::BTreeMap<String, bytes::Bytes>| {
        let state: Value = serde_json::from_slice(&files["state.json"]).unwrap();
        (state["cursor"].clone(), state["samplesSeen"].clone())
    };
    assert_eq!(cursor(&expected), cursor(&found));
}

fn adamw() -> Value {
    json!({"kind": "adamw", "lr": 2e-3, "schedule": {"kind": "cosine", "warmup": "5%"}})
}

fn sgd() -> Value {
    json!({"kind": "sgd", "lr": 0.05, "momentum": 0.9})
}

/// Both optimizers at each number of ranks, with dropout.
fn every_kind() -> Vec<JobSpec> {
    let kinds = [1, 2, 4].into_iter().flat_map(|nodes| [adamw(), sgd()].map(|optimizer| (nodes, optimizer)));
    kinds.map(|(nodes, optimizer)| digits(nodes, json!({"optimizer": optimizer}))).collect()
}

#[test]
fn killed_and_resumed_on_files() {
    for job in every_kind() {
        survives_being_killed(Case::on_files(job));
    }
}

/// The vocabulary is what the data says.
#[test]
fn a_transformer_over_text_is_killed_and_resumed() {
    let uri = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../datasets/shakespeare");
    for nodes in [1, 2, 4] {
        let changes = json!({
            "model": {"kind": "gpt", "hidden": null, "layers": 2, "heads": 2, "width": 16, "context": 16, "dropout": 0.1},
            "data": {"format": "tokens", "window": 16, "train": {"uri": uri.to_str().unwrap()}, "eval": null},
            "train": {"globalBatch": 16, "microBatch": 2},
        });
        survives_being_killed(Case::on_files(digits(nodes, changes)));
    }
}

#[test]
fn killed_and_resumed_on_s3() {
    let server = S3Server::start().unwrap();
    for (number, job) in every_kind().into_iter().enumerate() {
        survives_being_killed(Case::on_s3(job, &server, &format!("run-{number}")));
    }
}

#[test]
fn a_stop_is_agreed_in_two_rounds_and_leaves_a_checkpoint() {
    let case = Case::on_files(digits(2, json!({})));
    let workers = case.start();
    workers.tell_all(&AgentMsg::HoldAt { ask: 7, step: Step(5) });
    let held = |rank, message: &WorkerMsg| match message {
        WorkerMsg::Held { ask: 7, started } if *started <= Step(5) => Some(rank),
        _ => None,
    };
    let first = workers.wait_for("answer", held);
    let second = workers.wait_for("answer", held);
    assert_ne!(first, second);
    workers.tell_all(&AgentMsg::StopAt { step: Step(5), reason: "SIGTERM".into(), ends_run: true });
    for (word, status) in workers.finish() {
        assert_eq!((word, status.code()), (WorkerOutcome::Stopped { step: Step(5) }, Some(143)));
    }
    assert_eq!(case.run.committed(), [5]);
}

#[test]
fn workers_leave_when_their_agent_is_gone() {
    let case = Case::on_files(digits(2, json!({})));
    let mut workers = case.start();
    workers.tell_all(&AgentMsg::HoldAt { ask: 1, step: Step(5) });
    workers.wait_for("heartbeat in training", |_, message| match message {
        WorkerMsg::Heartbeat { step: Step(5), .. } => Some(()),
        _ => None,
    });
    workers.hang_up();
    for rank in 0..2 {
        assert_eq!(workers.exit(rank).signal(), Some(9), "by its own hand");
    }
}

#[test]
fn the_survivor_of_a_killed_peer_says_so_and_stays() {
    let case = Case::on_files(digits(2, json!({"train": {"steps": 1_000_000}})));
    let mut workers = case.start();
    workers.wait_for("checkpoint", committed(10));
    workers.kill_one(1);
    let (failure, rank) = workers.wait_for("word of its end", |rank, message| match message {
        WorkerMsg::Left(WorkerOutcome::Failed(failure)) => Some((failure.clone(), rank)),
        _ => None,
    });
    assert_eq!((rank, failure.kind), (0, FailureKind::PeerLost), "{}", failure.message);
    // It waits for another generation, and says that it lives.
    for _ in 0..3 {
        workers
            .wait_for("heartbeat", |_, message| matches!(message, WorkerMsg::Heartbeat { .. }).then_some(()));
    }
    workers.hang_up();
    assert_eq!(workers.exit(0).signal(), Some(9), "a worker never outlives its agent");
}

#[test]
fn what_is_wrong_with_a_job_is_the_last_word() {
    let cases = [
        (
            json!({"data": {"train": {"uri": "/nowhere"}}}),
            FailureKind::Data,
            "/nowhere/train holds no dataset",
        ),
        (
            json!({"worker": "w", "model": {"kind": "custom", "hidden": null, "dropout": null}}),
            FailureKind::Spec,
            "name the binary",
        ),
    ];
    for (changes, kind, text) in cases {
        let case = Case::on_files(digits(1, changes));
        let (word, status) = case.start().finish().remove(0);
        let WorkerOutcome::Failed(failure) = word else { panic!("{word:?}") };
        assert_eq!((failure.kind, status.code()), (kind, Some(240)), "{}", failure.message);
        assert!(failure.message.contains(text), "{}", failure.message);
    }
}

#[test]
fn a_binary_that_nobody_started_says_how_it_is_meant() {
    let worker = || std::process::Command::new(env!("CARGO_BIN_EXE_lockstep-worker"));
    let alone = worker().env_remove("LOCKSTEP_LINK").output().unwrap();
    let text = String::from_utf8(alone.stderr).unwrap();
    assert!(text.contains("LOCKSTEP_LINK is not set") && text.contains("lockstep launch"), "{text}");
    let version = worker().arg("--version").output().unwrap();
    assert!(String::from_utf8(version.stdout).unwrap().contains("libtorch 2.11.0"));
}
