//! Data without hashes in its index: what all ranks read goes into checkpoints, and what differs is refused.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_run::link::{FailureKind, WorkerMsg};
use serde_json::{Value, json};
use std::sync::Arc;
use support::blobs::Seen;
use support::{Outcome, World, job};

const HIGH: u128 = 0xfedc_ba98_7654_3210_0123_4567_89ab_cdef;

fn world(nodes: u32, seen: impl Fn(u32) -> Seen + Send + Sync + 'static) -> World {
    let mut world = World::new(job(json!({"nodes": nodes})));
    world.data.seen = Arc::new(seen);
    world
}

fn listed(listing: &str, contents: Vec<Option<u128>>) -> Seen {
    Seen { listing: Some(listing.to_owned()), contents }
}

fn dataset(world: &World, step: u64) -> Value {
    let state: Value = serde_json::from_slice(&world.checkpoint(step)["state.json"]).unwrap();
    state["dataset"].clone()
}

/// The errors of ranks that did not just lose another.
fn errors(outcome: Outcome) -> Vec<(FailureKind, String)> {
    let failed = outcome.ranks.into_iter().filter_map(Result::err);
    let told = failed.map(|error| (error.kind(), error.to_string()));
    told.filter(|(kind, _)| *kind != FailureKind::PeerLost).collect()
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    let messages = outcome.messages.iter().flatten();
    let told = messages.filter_map(|message| match message {
        WorkerMsg::Warning(text) => Some(text.as_str()),
        _ => None,
    });
    told.collect()
}

#[test]
fn what_any_rank_has_read_is_in_the_checkpoint() {
    let world = world(2, |rank| match rank {
        0 => listed("listing:a", vec![Some(1), None, Some(HIGH), None]),
        _ => listed("listing:a", vec![None, Some(u128::MAX), Some(HIGH), None]),
    });
    world.train().done(10);
    let found = dataset(&world, 10);
    let (one, max) = (format!("{:032x}", 1), format!("{:032x}", u128::MAX));
    assert_eq!(found["shards"], json!({"0": one, "1": max, "2": format!("{HIGH:032x}")}));
    assert_eq!(found["listing"], "listing:a");
}

#[test]
fn where_the_index_has_hashes_nothing_is_added() {
    let world = world(2, |_| Seen::default());
    world.train().done(10);
    assert_eq!(dataset(&world, 10), json!({"uri": "memory", "split": null, "digest": "blobs-160"}));
}

#[test]
fn ranks_that_see_other_data_do_not_train_together() {
    let listings = world(2, |rank| listed(&format!("listing:{rank}"), Vec::new()));
    let told = errors(listings.train());
    assert!(told.len() == 1 && told[0].1.contains("rank 1 sees other data"), "{told:?}");
    // The next try may see the same on all.
    assert!(!told[0].0.is_fatal());
    let contents = world(2, |rank| listed("listing:a", vec![Some(rank.into())]));
    let told = errors(contents.train());
    assert!(
        !told.is_empty()
            && told.iter().all(|(_, text)| text.contains("the content of shard 0 of memory differs"))
    );
}

#[test]
fn at_resume_the_content_decides_where_the_listing_differs() {
    let first = world(2, |_| listed("listing:a", vec![Some(7)]));
    first.train().done(10);
    let resume = |seen: Seen| {
        let mut resumed = first.resume(10);
        resumed.job = job(json!({"nodes": 2, "train": {"steps": 12}}));
        resumed.data.seen = Arc::new(move |_| seen.clone());
        resumed
    };
    resume(listed("listing:copy", vec![Some(7)])).train().done(12);
    let told = errors(resume(listed("listing:other", vec![Some(8)])).train());
    assert!(
        told.iter().all(|(kind, text)| kind.is_fatal() && text.contains("is not what it was")),
        "{told:?}"
    );
    assert!(!told.is_empty());
}

#[test]
fn a_checkpoint_that_does_not_say_what_was_read_is_accepted_with_one_warning() {
    // As older versions wrote it.
    let first = world(2, |_| Seen::default());
    first.train().done(10);
    let mut resumed = first.resume(10);
    resumed.job = job(json!({"nodes": 2, "train": {"steps": 12}}));
    resumed.data.seen = Arc::new(|_| listed("listing:a", vec![Some(7)]));
    let outcome = resumed.train();
    let told = warnings(&outcome);
    assert!(told.len() == 1 && told[0].contains("lockstep data seal"), "{told:?}");
    outcome.done(12);
    assert_eq!(dataset(&resumed, 12)["listing"], "listing:a");
}
