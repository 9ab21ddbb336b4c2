//! What agents say to each other: what reads is sent again as no more bytes, and reads as the same.

use crate::support::{corpus, current, framed, received, sent, wait};
use lockstep_agent::wire::{Beat, Introduction, LeaderMsg, MemberMsg, Offer};
use lockstep_fuzzing::fuzz;
use lockstep_run::link::{Failure, FailureKind, Phase, StoreOp, StoreReply, TraceOrder, WorkerOutcome};
use lockstep_run::{
    Account, Blow, Generation, Gpu, Incarnation, MOST_RANKS_OF_A_NODE, NodeId, Rank, Slowdown, Step, Strike,
    Target,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const G: Generation = Generation(300);
const R: Rank = Rank(1);

fn from_members() -> Vec<MemberMsg> {
    let beat = |rank| Beat { rank: Rank(rank), step: Step(1 << 40), phase: Phase::Saving };
    let offer = || Offer {
        address: "10.0.0.1:29500".into(),
        num_ranks: 8,
        free_port: 31_000,
        survivors: 7,
        account: Some(Box::new(Account {
            training: std::time::Duration::from_millis(1500),
            ..Account::default()
        })),
    };
    let failure = Failure { kind: FailureKind::PeerLost, message: "rank 1 closed the connection".into() };
    let finished = |outcome| MemberMsg::Finished { generation: G, rank: R, outcome };
    let gpu =
        Gpu { index: Some(3), xids: vec![79], slowed_by: vec![Slowdown::HardwareThermal], ..Gpu::default() };
    vec![
        MemberMsg::Join { offer: offer(), known: G, stop: None },
        MemberMsg::Join { offer: offer(), known: Generation(0), stop: Some("SIGTERM".into()) },
        MemberMsg::Heartbeat { generation: G, beats: vec![beat(0), beat(1)] },
        MemberMsg::GetsOn { generation: G },
        MemberMsg::Store { generation: G, rank: R, id: 7, op: StoreOp::Add { key: "k".into(), delta: -1 } },
        MemberMsg::Held { generation: G, rank: R, ask: 1, started: Step(u64::MAX) },
        finished(WorkerOutcome::Stopped { step: Step(3) }),
        finished(WorkerOutcome::Failed(failure)),
        MemberMsg::Lost { generation: G, rank: R, cause: "killed by SIGKILL".into() },
        MemberMsg::Stop { cause: "SIGTERM".into() },
        MemberMsg::Gpus { generation: G, gpus: vec![gpu] },
    ]
}

fn from_leaders() -> Vec<LeaderMsg> {
    vec![
        LeaderMsg::Ack,
        LeaderMsg::NotLeader,
        LeaderMsg::Leave,
        LeaderMsg::Committed { record: "{\"format\":1}".into() },
        LeaderMsg::Revoke { generation: G, reason: "node 1 is lost".into() },
        LeaderMsg::StoreReply { rank: R, id: 7, reply: StoreReply::Value(vec![0, 255]) },
        LeaderMsg::HoldAt { generation: G, ask: 1, step: Step(9) },
        LeaderMsg::Strike {
            generation: G,
            strike: Strike { blow: Blow::Stop, target: Target::Worker(Rank(3)) },
            by: "me@here".into(),
        },
        LeaderMsg::StopAt { generation: G, step: Step(9), reason: "SIGTERM".into(), ends_run: false },
        LeaderMsg::Trace { generation: G, order: TraceOrder { number: 300, steps: 100 } },
    ]
}

fn target<M: Serialize + DeserializeOwned + PartialEq + Debug>(
    name: &str,
    messages: &[M],
    bounded: impl Fn(&M),
) {
    // Without the length, so that a change of it can't hide what follows.
    let written: Vec<_> = messages.iter().map(|message| wait(sent(&[message]))[4..].to_vec()).collect();
    current(name, &written);
    fuzz(name, &corpus(name), |data| {
        wait(async {
            let read: Vec<M> = received(&framed(data)).await;
            let again = sent(&read).await;
            assert!(read.len() <= 1 && again.len() <= 4 + data.len(), "it grew: {read:?}");
            assert_eq!(received::<M>(&again).await, read);
            read.iter().for_each(&bounded);
        });
    });
}

#[test]
fn members() {
    target("member-message", &from_members(), |msg| {
        if let MemberMsg::Join { offer, .. } = msg {
            assert!(offer.num_ranks <= MOST_RANKS_OF_A_NODE);
        }
    });
}

#[test]
fn leaders() {
    target("leader-message", &from_leaders(), |_| {});
}

#[test]
fn introductions() {
    let who = |node, life| Introduction { node: NodeId(node), incarnation: Incarnation(life) };
    target("introduction", &[who(0, 1), who(u32::MAX, u32::MAX)], |_| {});
}
