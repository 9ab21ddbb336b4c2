//! Messages of the link and of the control channel, which are postcard.

use crate::lines::{account, gpu, report};
use crate::samples::{CHECKPOINT, provenance, trace};
use crate::support::{Waiter, corpus, current};
use lockstep_fuzzing::fuzz;
use lockstep_run::control::{Live, Opening, Reply, Request};
use lockstep_run::link::{
    self, AgentMsg, Failure, FailureKind, Phase, Start, StoreOp, StoreReply, TraceOrder, WorkerMsg,
    WorkerOutcome,
};
use lockstep_run::{
    Generation, GpuUuid, Incarnation, NodeId, Progress, Rank, RunUid, StartFrom, Step, WarmFrom, WeightsFile,
    WeightsFrom,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

fn op(key: &str) -> [StoreOp; 7] {
    let (key, keys) = (key.to_owned(), vec!["a".to_owned(), String::new()]);
    [
        StoreOp::Set { key: key.clone(), value: vec![0, 255] },
        StoreOp::Get { key: key.clone(), timeout_ms: u64::MAX },
        StoreOp::Add { key: key.clone(), delta: i64::MIN },
        StoreOp::CompareSet { key: key.clone(), expected: vec![], desired: vec![1] },
        StoreOp::Check { keys: keys.clone() },
        StoreOp::Wait { keys, timeout_ms: 1 },
        StoreOp::Delete { key },
    ]
}

fn from_workers() -> Vec<WorkerMsg> {
    let failure = Failure { kind: FailureKind::NonFinite, message: "the loss is NaN".into() };
    let mut all = vec![
        WorkerMsg::Hello { pid: 4711, local_rank: 1 },
        WorkerMsg::Heartbeat { step: Step(300), phase: Phase::Evaluating },
        WorkerMsg::Report(report(0.1).into()),
        WorkerMsg::CheckpointCommitted { step: Step(1), uri: "s3://b/c".into(), num_bytes: 9, seconds: 0.5 },
        WorkerMsg::CheckpointProblem { step: Step(1), text: "it is damaged".into() },
        WorkerMsg::Held { ask: 1, started: Step(u64::MAX) },
        WorkerMsg::Traced { number: 300, recorded: trace().recorded },
        WorkerMsg::Computes { gpu: Some(GpuUuid([0xff; 16])) },
        WorkerMsg::Computes { gpu: None },
        WorkerMsg::Warning("é".into()),
        WorkerMsg::Resumed { step: Step(7), source: Rank(1) },
        WorkerMsg::Left(WorkerOutcome::Failed(Failure {
            kind: FailureKind::PeerLost,
            message: "gone".into(),
        })),
        WorkerMsg::Finished(WorkerOutcome::Done { step: Step(30) }),
        WorkerMsg::Finished(WorkerOutcome::Stopped { step: Step(30) }),
        WorkerMsg::Finished(WorkerOutcome::Failed(failure)),
    ];
    all.extend(op("k").into_iter().map(|op| WorkerMsg::Store { id: 7, op }));
    all
}

fn start(start_from: StartFrom) -> AgentMsg {
    AgentMsg::Start(Box::new(Start {
        run_uid: RunUid("00c0ffee00c0ffee00c0ffee00c0ffee".into()),
        generation: Generation(3),
        rank: Rank(1),
        world_size: 2,
        local_rank: 0,
        local_world_size: 1,
        node: NodeId(1),
        incarnation: Incarnation(1),
        host: "10.0.0.1".into(),
        run_dir: "s3://b/runs/digits".into(),
        job: "{\"name\":\"digits\"}".into(),
        start_from,
        gpus: Default::default(),
        launched_at_unix_ms: 1_700_000_000_000,
        scratch: "/cache".into(),
        agent_version: "0.1.0".into(),
        provenance: provenance(),
    }))
}

fn from_agents() -> Vec<AgentMsg> {
    let warm = WarmFrom { run: "before".into(), checkpoint: CHECKPOINT };
    let file = WeightsFile { bytes: 7, blake3: "00c0ffee".into() };
    let weights = WeightsFrom { folder: "s3://b/".into(), files: [("a.safetensors".into(), file)].into() };
    let replies = [
        StoreReply::Done,
        StoreReply::Value(vec![1, 2]),
        StoreReply::Sum(-1),
        StoreReply::Truth(true),
        StoreReply::Timeout,
        StoreReply::Refused("its generation is over".into()),
    ];
    let mut all: Vec<_> = replies.into_iter().map(|reply| AgentMsg::StoreReply { id: 300, reply }).collect();
    all.extend([
        start(StartFrom::Warm(warm)),
        start(StartFrom::Local(CHECKPOINT)),
        AgentMsg::HoldAt { ask: 1, step: Step(9) },
        AgentMsg::StopAt { step: Step(9), reason: "SIGTERM".into(), ends_run: true },
        start(StartFrom::Weights(weights)),
        AgentMsg::Trace(TraceOrder { number: 300, steps: 100 }),
    ]);
    all
}

fn openings() -> Vec<Opening> {
    let cancel = Request::Cancel { cause: "lockstep cancel".into() };
    vec![Opening::Agent, Opening::Client(Request::Status), Opening::Client(cancel)]
}

fn replies() -> Vec<Reply> {
    let live = Live {
        generation: Generation(3),
        phase: Phase::Saving,
        progress: Progress {
            step: Step(9),
            total_steps: Some(Step(30)),
            loss: Some(f64::NAN),
            samples_per_second: None,
            tokens_per_second: None,
            mfu: Some(0.25),
            step_seconds: report(0.1).step_seconds,
            slowest_rank: None,
            eval: report(0.1).eval,
        },
        nodes_ready: 2,
        gpus: [(NodeId(1), vec![gpu()])].into(),
        gpu_seconds: Some(0.5),
        account: Some(account()),
    };
    vec![Reply::Status(Box::new(live)), Reply::Accepted, Reply::NotLeader]
}

/// What comes of bytes that a peer sent, up to the first that are no message.
async fn received<M: DeserializeOwned>(sent: &[u8]) -> Vec<M> {
    let (ours, mut theirs) = tokio::io::duplex(sent.len().max(1));
    theirs.write_all(sent).await.unwrap();
    drop(theirs);
    let (mut receiver, _sender) = link::split(ours);
    let mut all = Vec::new();
    while let Ok(Some(message)) = receiver.recv().await {
        all.push(message);
    }
    all
}

/// One frame of the link.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

/// Messages by themselves, and a stream that holds all of them.
fn target<M: Serialize + DeserializeOwned>(name: &str, messages: &[M]) {
    let written: Vec<_> = messages.iter().map(|message| postcard::to_stdvec(message).unwrap()).collect();
    let names: Vec<_> = (0..written.len()).map(|i| format!("{i:02}")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(written.iter().cloned()).collect();
    current(name, &files);
    let stream = written.iter().flat_map(|message| framed(message)).collect();
    current(&format!("{name}-stream"), &[("all", stream)]);
    let waiter = Waiter::new();
    let same = |sent: &[u8], most: usize| {
        let read: Vec<M> = waiter.wait(received(sent));
        assert!(read.len() <= most);
        let again: Vec<_> = read.iter().map(|message| postcard::to_stdvec(message).unwrap()).collect();
        assert!(again.iter().map(Vec::len).sum::<usize>() <= sent.len(), "it grew");
        let stream: Vec<u8> = again.iter().flat_map(|message| framed(message)).collect();
        let reread: Vec<M> = waiter.wait(received(&stream));
        let reread: Vec<_> = reread.iter().map(|message| postcard::to_stdvec(message).unwrap()).collect();
        assert_eq!(reread, again);
    };
    fuzz(name, &corpus(name, &[]), |data| same(&framed(data), 1));
    let name = format!("{name}-stream");
    fuzz(&name, &corpus(&name, &[]), |data| same(data, data.len() / 5));
}

#[test]
fn workers() {
    target("worker-message", &from_workers());
}

#[test]
fn agents() {
    target("agent-message", &from_agents());
}

#[test]
fn clients() {
    target("opening", &openings());
}

#[test]
fn answers() {
    target("reply", &replies());
}
