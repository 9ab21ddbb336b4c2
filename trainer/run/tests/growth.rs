//! What a run costs after a long time: requests and objects, counted, never seconds.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use bytes::Bytes;
use lockstep_run::checkpoint::Draft;
use lockstep_run::segment::{EVENTS, METRICS, Metric, Owner, SHELVES, SegmentWriter, Series};
use lockstep_run::{
    Body, CommitRef, Generation, Incarnation, Join, Launch, Member, Membership, NodeId, Provenance, Rank,
    Report, RunDir, RunRecord, RunUid, StartFrom, Step, Writer,
};
use lockstep_storage_testing::Counting;
use std::time::Duration;

const HOURS: u64 = 24 * 7;
const RE_FORMATIONS: u64 = 200;

fn writer(nonce: u64) -> Writer {
    Writer { node: NodeId(0), incarnation: Incarnation(1), nonce }
}

fn formed(generation: u64, start_from: StartFrom) -> Membership {
    let member = Member {
        node: NodeId(0),
        incarnation: Incarnation(1),
        address: "127.0.0.1:1".to_owned(),
        ranks: vec![Rank(0)],
        free_port: 1,
    };
    Membership {
        run_uid: RunUid("r".into()),
        generation: Generation(generation),
        writer: writer(generation),
        launch: "one".to_owned(),
        launched_at: None,
        restarts: Some(generation as u32 - 1),
        launch_restarts: generation as u32 - 1,
        root: Some(Generation(1)),
        gpu_seconds: None,
        account: None,
        survivors: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        reason: String::new(),
        body: Body::Formed {
            members: vec![member],
            leader: NodeId(0),
            start_from,
            job: serde_json::Value::Null,
            restart: generation > 1,
        },
    }
}

fn metric(step: u64) -> Vec<u8> {
    let report = Report {
        step: Step(step),
        total_steps: Step(1_000_000),
        epoch: f64::NAN,
        loss: Some(0.5),
        eval: [("accuracy".to_owned(), 0.5)].into(),
        ..Report::default()
    };
    let metric =
        Metric { report, generation: Generation(1), at: jiff::Timestamp::UNIX_EPOCH, gpu_seconds: None };
    let mut line = serde_json::to_vec(&metric).unwrap();
    line.push(b'\n');
    line
}

/// A run that has logged every minute for a week, has formed anew again and again, and saves each time.
async fn a_week() -> (Counting, RunDir) {
    let store = Counting::default();
    let dir = RunDir::new(store.shared());
    let created_at = jiff::Timestamp::UNIX_EPOCH;
    let (name, version, job) = ("week".to_owned(), "0".to_owned(), serde_json::Value::Null);
    dir.run_or_create(RunRecord { run_uid: RunUid("r".into()), name, created_at, version, job })
        .await
        .unwrap();
    dir.key_or_create().await.unwrap();
    let (launch, at) = ("one".to_owned(), created_at);
    let first_step = Launch { launch, launched_at: at, first_step_at: at, first_step_seconds: 2.5 };
    dir.launch_or_create(first_step).await.unwrap();
    let mut last: Option<CommitRef> = None;
    for generation in 1..=RE_FORMATIONS {
        let from = last.map_or(StartFrom::Fresh, StartFrom::Commit);
        dir.propose(formed(generation, from)).await.unwrap();
        let draft = Draft {
            step: Step(generation * 1000),
            generation: Generation(generation),
            attempt: 0,
            parent: last,
            world_size: 1,
            writer: writer(generation),
            provenance: Provenance::default(),
        };
        let files = [("model.safetensors".to_owned(), Bytes::from_static(b"model"))].into();
        let commit = dir.save_checkpoint(draft, files).await.unwrap();
        last = Some(commit.as_ref());
        let lineage = dir.lineage(Generation(generation)).await.unwrap();
        for old in lockstep_run::checkpoint::expired(&lineage, 3) {
            dir.delete_checkpoint(*old).await.unwrap();
        }
    }
    let owner = |life| Owner { since: Generation(0), node: NodeId(0), incarnation: Incarnation(life) };
    for shelf in SHELVES {
        // The first life ends in the middle of an hour, and leaves its small segments.
        for (life, minutes) in [(1, 90), (2, HOURS * 60 - 90)] {
            let mut writer = SegmentWriter::new(dir.clone(), Series::of(shelf, owner(life)));
            for minute in 0..minutes {
                let line = if shelf == METRICS { metric(minute) } else { b"{}\n".to_vec() };
                writer.write(line.into()).await.unwrap();
                if writer.is_due() {
                    writer.merge().await.unwrap();
                }
            }
        }
    }
    dir.tidy(|_, life| life == Incarnation(2)).await.unwrap();
    (store, dir)
}

#[tokio::test]
async fn a_week_leaves_some_objects_an_hour_and_a_status_takes_few_requests() {
    let (store, dir) = a_week().await;
    let objects = store.objects().await;
    // Four series with an object an hour, and the small ones of the hour that is under way; then the memberships, three
    // checkpoints of one file and a record, and run.json, control.key and the launch.
    let bound = 4 * (HOURS + 60) + RE_FORMATIONS + 3 * 2 + 3;
    assert!(objects as u64 <= bound, "{objects} objects, {bound} are the bound");

    store.reset();
    let status = dir.status(Duration::from_millis(100)).await.unwrap().unwrap();
    let requests = store.requests();
    assert!(requests <= 50, "a status took {requests} requests");
    assert_eq!(status.restarts, RE_FORMATIONS as u32 - 1);
    assert_eq!(status.last_checkpoint.as_ref().map(|c| c.step), Some(Step(RE_FORMATIONS * 1000)));
    assert_eq!((status.loss, status.time_to_first_step_seconds), (Some(0.5), Some(2.5)));
    serde_json::to_string(&status).unwrap();
}

#[tokio::test]
async fn nothing_that_was_logged_in_a_week_is_lost_or_doubled() {
    let (_store, dir) = a_week().await;
    let mut lines = 0;
    for segment in dir.segments(EVENTS).await.unwrap() {
        let body = dir.storage().get(&segment.path).await.unwrap();
        lines += body.iter().filter(|b| **b == b'\n').count() as u64;
    }
    assert_eq!(lines, HOURS * 60);
    let metrics = dir.metrics().await.unwrap();
    assert_eq!(metrics.len() as u64, HOURS * 60 - 90);
    assert!(metrics.iter().all(|m| m.report.epoch.is_nan()));
}

#[tokio::test]
async fn a_re_formation_reads_few_records_after_a_thousand() {
    let store = Counting::default();
    let dir = RunDir::new(store.shared());
    let commit = |g| CommitRef { generation: Generation(g), step: Step(g) };
    for generation in 1..=1000 {
        let from = if generation == 1 { StartFrom::Fresh } else { StartFrom::Commit(commit(generation - 1)) };
        dir.propose(formed(generation, from)).await.unwrap();
    }
    for generation in [998, 999, 1000] {
        let path = lockstep_run::layout::commit(Step(generation), Generation(generation));
        dir.storage().put(&path, Bytes::from_static(b"{}")).await.unwrap();
    }
    store.reset();
    let newest = dir.newest_membership().await.unwrap().unwrap();
    let formed = dir.last_formed(newest.clone()).await.unwrap().unwrap();
    let lineage = dir.lineage_until(formed.generation, |_| true).await.unwrap();
    assert_eq!(dir.restarts(&newest).await.unwrap(), 999);
    assert_eq!(lineage, [commit(1000)]);
    // Twice the binary digits of the number of generations, the record itself, and the list of commits.
    let requests = store.requests();
    assert!(requests <= 2 * 10 + 2, "{requests} requests");
    store.reset();
    assert_eq!(dir.newest_since(Generation(1000)).await.unwrap(), None);
    assert_eq!(store.requests(), 1, "who knows the newest asks for the next");
}

#[tokio::test]
async fn the_newest_life_is_found_by_number_and_older_records_go() {
    let store = Counting::default();
    let dir = RunDir::new(store.shared());
    let join = |incarnation| Join {
        run_uid: RunUid("r".into()),
        node: NodeId(0),
        incarnation,
        address: "127.0.0.1:1".to_owned(),
        num_ranks: 1,
        pid: 1,
        nonce: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    for life in [9_998, 9_999, 10_000] {
        let path = lockstep_run::layout::join(NodeId(0), Incarnation(life));
        let body = serde_json::to_vec(&join(Incarnation(life))).unwrap();
        dir.storage().put(&path, body.into()).await.unwrap();
    }
    for foreign in ["nodes/0/0001.json.old", "nodes/0/99999999999.json", "nodes/x/y", "nodes/0/+7.json"] {
        dir.storage().put(foreign, Bytes::from_static(b"?")).await.unwrap();
    }
    assert_eq!(dir.newest_join(NodeId(0)).await.unwrap().map(|j| j.incarnation), Some(Incarnation(10_000)));
    assert_eq!(dir.join(NodeId(0), join).await.unwrap().incarnation, Incarnation(10_001));
    assert_eq!(dir.newest_lives().await.unwrap()[&NodeId(0)], Incarnation(10_001));
    assert_eq!(store.objects().await, 2 + 4, "the newest two, and what isn't ours");

    let last = lockstep_run::layout::join(NodeId(1), Incarnation(u32::MAX));
    dir.storage().put(&last, Bytes::from_static(b"{}")).await.unwrap();
    let error = dir.join(NodeId(1), join).await.unwrap_err();
    assert!(matches!(error, lockstep_run::Error::NoMoreLives { .. }), "{error}");
}
