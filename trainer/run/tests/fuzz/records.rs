//! Records that are JSON and no more: what reads is created anew, and reads as the same.

use crate::samples::{self, GENERATION};
use crate::support::{Waiter, corpus, current};
use bytes::Bytes;
use lockstep_fuzzing::fuzz_text;
use lockstep_run::{Generation, Incarnation, MOST_RANKS_OF_A_NODE, NodeId, RunDir, layout};

/// The bytes of an object.
fn stored(waiter: &Waiter, dir: &RunDir, path: &str) -> Vec<u8> {
    waiter.wait(dir.storage().get(path)).unwrap().to_vec()
}

fn empty() -> RunDir {
    RunDir::new(lockstep_storage::open("memory://").unwrap())
}

#[test]
fn runs() {
    let waiter = Waiter::new();
    let dir = empty();
    waiter.wait(dir.run_or_create(samples::run())).unwrap();
    current("run", &[("current", stored(&waiter, &dir, layout::RUN))]);
    fuzz_text("run", &corpus("run", &["run.json"]), |data| {
        let dir = waiter.dir_with(layout::RUN, data);
        if let Ok(Some(read)) = waiter.wait(dir.run()) {
            let again = empty();
            waiter.wait(again.run_or_create(read.clone())).unwrap();
            assert_eq!(waiter.wait(again.run()).unwrap(), Some(read));
        }
    });
}

#[test]
fn joins() {
    let waiter = Waiter::new();
    let (node, path) = (NodeId(0), layout::join(NodeId(0), Incarnation(1)));
    let dir = empty();
    waiter.wait(dir.join(node, |_| samples::join())).unwrap();
    current("join", &[("current", stored(&waiter, &dir, &path))]);
    fuzz_text("join", &corpus("join", &["nodes/0", "nodes/1"]), |data| {
        let dir = waiter.dir_with(&path, data);
        if let Ok(Some(read)) = waiter.wait(dir.newest_join(node)) {
            let again = empty();
            // Whatever life it tells of, it is stored as the one that it is given.
            waiter
                .wait(again.join(node, |incarnation| lockstep_run::Join { incarnation, ..read.clone() }))
                .unwrap();
            let expected = lockstep_run::Join { incarnation: Incarnation(1), ..read };
            assert_eq!(waiter.wait(again.newest_join(node)).unwrap(), Some(expected));
        }
    });
}

#[test]
fn launches() {
    let waiter = Waiter::new();
    let dir = empty();
    waiter.wait(dir.launch_or_create(samples::launch())).unwrap();
    current("launch", &[("current", stored(&waiter, &dir, &layout::launch("l")))]);
    fuzz_text("launch", &corpus("launch", &[]), |data| {
        let dir = waiter.dir_with(&layout::launch("l"), data);
        if let Ok(Some(mut read)) = waiter.wait(dir.launch("l")) {
            "l".clone_into(&mut read.launch);
            let again = empty();
            waiter.wait(again.launch_or_create(read.clone())).unwrap();
            assert_eq!(waiter.wait(again.launch("l")).unwrap(), Some(read));
        }
    });
}

#[test]
fn requests() {
    let waiter = Waiter::new();
    let dir = empty();
    waiter.wait(dir.ask(&samples::request())).unwrap();
    current("request", &[("current", stored(&waiter, &dir, &layout::request(1)))]);
    fuzz_text("request", &corpus("request", &[]), |data| {
        let dir = waiter.dir_with(&layout::request(1), data);
        if let Ok(Some(read)) = waiter.wait(dir.request(1)) {
            let again = empty();
            waiter.wait(again.ask(&read)).unwrap();
            assert_eq!(waiter.wait(again.request(1)).unwrap(), Some(read));
        }
    });
}

#[test]
fn traces() {
    let waiter = Waiter::new();
    let (dir, rank) = (empty(), samples::trace().rank);
    waiter.wait(dir.keep_trace(1, &samples::trace())).unwrap();
    current("trace", &[("current", stored(&waiter, &dir, &layout::trace(1, rank)))]);
    fuzz_text("trace", &corpus("trace", &[]), |data| {
        let dir = waiter.dir_with(&layout::trace(1, rank), data);
        if let Ok(read) = waiter.wait(dir.trace(1, rank)) {
            let again = empty();
            waiter.wait(again.keep_trace(1, &read)).unwrap();
            assert_eq!(waiter.wait(again.trace(1, rank)).unwrap(), read);
            for step in read.recorded.steps {
                let took = step.ns();
                assert!(step.spans.iter().all(|span| span.ns <= took), "it wrapped");
            }
        }
    });
}

#[test]
fn memberships() {
    let waiter = Waiter::new();
    let path = layout::membership(GENERATION);
    let written: Vec<_> = (samples::memberships().into_iter())
        .map(|(name, record)| {
            let dir = empty();
            waiter.wait(dir.propose(record)).unwrap();
            (name, stored(&waiter, &dir, &path))
        })
        .collect();
    current("membership", &written);
    fuzz_text("membership", &corpus("membership", &["membership"]), |data| {
        let generation = said_generation(data).unwrap_or(GENERATION);
        let dir = waiter.dir_with(&layout::membership(generation), data);
        let Ok(Some(read)) = waiter.wait(dir.membership(generation)) else { return };
        let again = empty();
        waiter.wait(again.propose(read.clone())).unwrap();
        assert_eq!(waiter.wait(again.membership(generation)).unwrap().as_ref(), Some(&read));
        // A list of ranks takes its place in the text, a number of them doesn't.
        let ranks = read.members().iter().map(|member| member.ranks.len());
        assert!(ranks.sum::<usize>() <= data.len() + read.members().len() * MOST_RANKS_OF_A_NODE as usize);
        let _ = (read.leader_address(), read.outcome(), read.is_restart());
        // Those who go back from it come to an end.
        let _ = waiter.wait(dir.lineage(generation));
        let _ = waiter.wait(dir.last_formed(read));
    });
}

/// Of which generation the record says that it is.
fn said_generation(data: &[u8]) -> Option<Generation> {
    serde_json::from_slice::<serde_json::Value>(data).ok()?["generation"].as_u64().map(Generation)
}

#[test]
fn control_keys() {
    let waiter = Waiter::new();
    let keys = [b"0123456789abcdef0123456789abcdef".to_vec(), vec![0; 31], vec![]];
    lockstep_fuzzing::fuzz("control-key", &keys, |data| {
        let dir = waiter.dir_with(layout::CONTROL_KEY, data);
        assert_eq!(waiter.wait(dir.key()).is_ok(), data.len() == 32);
        // One that is there is taken for what it is and never replaced.
        assert_eq!(waiter.wait(dir.key_or_create()).is_ok(), data.len() == 32);
        assert_eq!(
            waiter.wait(dir.storage().get(layout::CONTROL_KEY)).unwrap(),
            Bytes::copy_from_slice(data)
        );
    });
}
