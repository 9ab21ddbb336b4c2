//! Records as they are written today, with every kind of value that they hold.

use crate::lines::account;
use jiff::Timestamp;
use lockstep_run::{
    Activity, Body, Code, Commit, CommitRef, DatasetUse, Evaluation, FileEntry, Generation, Hardware,
    Incarnation, Join, Launch, Member, Membership, NodeId, Outcome, Provenance, Rank, Recorded, RunRecord,
    RunRequest, RunUid, Slice, Span, StartFrom, Step, Trace, TracedStep, Versions, WarmFrom, Wish, Writer,
};

/// The generation of the membership records.
pub(crate) const GENERATION: Generation = Generation(3);
pub(crate) const CHECKPOINT: CommitRef = CommitRef { generation: Generation(2), step: Step(20) };

pub(crate) fn at() -> Timestamp {
    "2026-11-24T10:20:30.123456789Z".parse().unwrap()
}

fn uid() -> RunUid {
    RunUid("00c0ffee00c0ffee00c0ffee00c0ffee".into())
}

fn job() -> serde_json::Value {
    serde_json::json!({
        "name": "digits", "nodes": 2, "train": { "steps": 30, "clipGradNorm": 0.30000000000000004 },
        "model": { "kind": "mlp", "hidden": [128] }, "odd": [null, true, -1, u64::MAX, "\u{0}é\u{1f600}"],
    })
}

pub(crate) fn writer() -> Writer {
    Writer { node: NodeId(1), incarnation: Incarnation(2), nonce: u64::MAX }
}

pub(crate) fn run() -> RunRecord {
    let version = "0.1.0".into();
    RunRecord { run_uid: uid(), name: "digits".into(), created_at: at(), version, job: job() }
}

pub(crate) fn join() -> Join {
    Join {
        run_uid: uid(),
        node: NodeId(0),
        incarnation: Incarnation(1),
        address: "127.0.0.1:29500".into(),
        num_ranks: 2,
        pid: 4711,
        nonce: 7,
        at: at(),
    }
}

pub(crate) fn launch() -> Launch {
    let first_step_seconds = 0.30000000000000004;
    Launch { launch: "l".into(), launched_at: at(), first_step_at: at(), first_step_seconds }
}

pub(crate) fn request() -> RunRequest {
    let asked_by = Some("ada@laptop".into());
    RunRequest { generation: GENERATION, asked_by, at: at(), wish: Wish::Trace { steps: 100 } }
}

pub(crate) fn trace() -> Trace {
    let spans = vec![
        Span { activity: Activity::Forward, micro_batch: Some(0), ns: 1_234_567 },
        Span { activity: Activity::Communication, micro_batch: None, ns: 0 },
        Span { activity: Activity::Evaluation, micro_batch: None, ns: 1 << 40 },
    ];
    let step = TracedStep { step: Step(20), begin_ns: 7, reduced_ns: Some(1_234_567), spans };
    let recorded = Recorded { begin_unix_ns: 1_800_000_000_123_456_789, steps: vec![step] };
    Trace { rank: Rank(3), node: NodeId(1), host: "10.0.0.1".into(), generation: GENERATION, recorded }
}

fn member(node: u32) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(1),
        address: format!("10.0.0.{node}:29500"),
        ranks: vec![Rank(2 * node), Rank(2 * node + 1)],
        free_port: 31_000,
    }
}

fn membership(body: Body) -> Membership {
    Membership {
        run_uid: uid(),
        generation: GENERATION,
        writer: writer(),
        launch: "l".into(),
        launched_at: Some(at()),
        restarts: Some(1),
        launch_restarts: 1,
        root: Some(Generation(1)),
        gpu_seconds: Some(1.5),
        account: Some(account()),
        survivors: 3,
        at: at(),
        reason: "node 1 is lost: its agent was silent for 3 s".into(),
        body,
    }
}

/// One for each thing that a membership record can say.
pub(crate) fn memberships() -> Vec<(&'static str, Membership)> {
    let formed = |start_from| Body::Formed {
        members: vec![member(0), member(1)],
        leader: NodeId(0),
        start_from,
        job: job(),
        restart: true,
    };
    let ended = |outcome| Body::Ended { outcome, previous: Generation(2) };
    let warm = WarmFrom { run: "before".into(), checkpoint: CHECKPOINT };
    let bodies = [
        ("fresh", formed(StartFrom::Fresh)),
        ("warm", formed(StartFrom::Warm(warm))),
        ("commit", formed(StartFrom::Commit(CHECKPOINT))),
        ("local", formed(StartFrom::Local(CHECKPOINT))),
        ("done", ended(Outcome::Done)),
        ("stopped", ended(Outcome::Stopped { cause: "SIGTERM".into(), for_good: true })),
        ("failed", ended(Outcome::Failed { error: "the loss is NaN".into() })),
    ];
    bodies.into_iter().map(|(name, body)| (name, membership(body))).collect()
}

pub(crate) fn provenance() -> Provenance {
    let dataset = |role: &str| DatasetUse {
        role: role.into(),
        uri: "s3://bucket/digits".into(),
        split: Some(role.into()),
        digest: "sha256:ab".into(),
    };
    let results =
        [("accuracy", 0.9375), ("loss", f64::NAN), ("worst", f64::INFINITY), ("least", f64::NEG_INFINITY)];
    Provenance {
        launch: Some("l".into()),
        launched_by: Some("me@here".into()),
        datasets: vec![dataset("train"), dataset("eval")],
        code: Some(Code { digest: Some("cd".into()), git_commit: Some("ef".into()), git_dirty: Some(true) }),
        image: Some("registry/image:tag".into()),
        versions: Some(Versions { agent: "0.1.0".into(), worker: "0.1.0".into(), libtorch: "2.11.0".into() }),
        hardware: Some(Hardware { cpu: "a cpu".into(), num_cores: 2, accelerators: vec!["H200".into()] }),
        evaluation: Some(Evaluation {
            step: Step(20),
            results: results.map(|(k, v)| (k.to_owned(), v)).into(),
        }),
    }
}

pub(crate) fn commit(provenance: Provenance) -> Commit {
    let file = |bytes| FileEntry { bytes, blake3: "ab".into(), parts: vec!["cd".into(), "ef".into()] };
    Commit {
        step: CHECKPOINT.step,
        generation: CHECKPOINT.generation,
        folder: "checkpoints/0000000020-2-00c0ffee00c0ffee-0".into(),
        parent: Some(CommitRef { generation: Generation(1), step: Step(10) }),
        files: [("model.safetensors".to_owned(), file(9 << 20)), ("state.json".to_owned(), file(0))].into(),
        state_hash: "01".into(),
        world_size: 2,
        writers: vec![writer(), Writer { nonce: 0, ..writer() }],
        slices: vec![Slice { file: "model.safetensors".into(), from: 8, bytes: 9, writer: 1 }],
        provenance,
        at: at(),
    }
}
