//! The key-value store, with requests of every kind in any order: each is answered once, in its time at the latest.

use crate::support::{corpus, current, received, sent, wait};
use lockstep_agent::kv::{Caller, Kv};
use lockstep_fuzzing::fuzz;
use lockstep_run::link::{StoreOp, StoreReply};
use lockstep_run::{Generation, NodeId, Rank};
use std::collections::BTreeSet;
use std::time::Duration;

const G: Generation = Generation(1);

fn conversations() -> Vec<Vec<StoreOp>> {
    let (key, keys) = (|| "k".to_owned(), || vec!["k".to_owned(), "other".to_owned()]);
    vec![
        vec![
            StoreOp::Get { key: key(), timeout_ms: 5 },
            StoreOp::Wait { keys: keys(), timeout_ms: u64::MAX },
            StoreOp::Set { key: key(), value: b"9223372036854775807".to_vec() },
            StoreOp::Add { key: key(), delta: 1 },
            StoreOp::Set { key: "other".into(), value: vec![] },
            StoreOp::Check { keys: keys() },
        ],
        vec![
            StoreOp::Add { key: key(), delta: 2 },
            StoreOp::CompareSet { key: key(), expected: b"2".to_vec(), desired: b"x".to_vec() },
            StoreOp::CompareSet { key: "new".into(), expected: vec![], desired: vec![1] },
            StoreOp::Delete { key: key() },
            StoreOp::Wait { keys: vec![], timeout_ms: 0 },
            StoreOp::Get { key: key(), timeout_ms: u64::MAX },
        ],
    ]
}

#[test]
fn requests() {
    let written: Vec<_> = conversations().iter().map(|ops| wait(sent(ops))).collect();
    current("store", &written);
    fuzz("store", &corpus("store"), |data| {
        let ops: Vec<StoreOp> = wait(received(data));
        let (mut kv, mut answered) = (Kv::default(), BTreeSet::new());
        let asked = ops.len() as u64;
        let mut note = |answers: Vec<(Caller, StoreReply)>| {
            for (caller, reply) in answers {
                assert!(answered.insert(caller.id), "{} is answered twice, with {reply:?}", caller.id);
            }
        };
        for (id, op) in (0..).zip(ops) {
            let caller = Caller { node: NodeId(0), rank: Rank(0), id };
            let now = Duration::from_millis(id);
            note(kv.apply(now, Some(G), G, caller, op));
            note(kv.expire(now));
        }
        note(kv.expire(Duration::MAX));
        assert_eq!(answered.into_iter().collect::<Vec<_>>(), (0..asked).collect::<Vec<_>>());
    });
}
