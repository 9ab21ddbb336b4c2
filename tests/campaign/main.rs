//! Random faults on real processes: whatever happens, a run ends with the bytes of an undisturbed one, and its records hold what
//! recovery promises.
//!
//! `LOCKSTEP_SEEDS=a..b` says which seeds; `LOCKSTEP_CAMPAIGN_TABLE` names a file to which a line with the sums is added.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A failed expectation is a failed test, and the table is its result.

mod check;
mod fault;
mod plan;
mod struck;

use plan::Plan;
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use struck::Struck;

/// Most of a run that is struck is waiting for a process to be missed.
const AT_ONCE: usize = 3;

/// What `make test-recovery` runs.
const ORDINARY: Range<u64> = 0..12;

#[test]
fn every_run_ends_with_the_bytes_of_an_undisturbed_one() {
    let seeds = seeds();
    let (next, begun) = (AtomicU64::new(seeds.start), Instant::now());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let plan = Plan::draw(seed);
                    println!("{plan}");
                    let outcome = catch_unwind(AssertUnwindSafe(|| struck::run(&plan)));
                    if let Ok(struck) = &outcome {
                        println!("{struck}");
                    }
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((seed, outcome.ok()));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let broken: Vec<_> =
        outcomes.iter().filter(|(_, struck)| struck.is_none()).map(|(seed, _)| seed).collect();
    let struck: Vec<_> = outcomes.iter().filter_map(|(_, struck)| struck.as_ref()).collect();
    let sum = |of: fn(&Struck) -> u64| struck.iter().map(|struck| of(struck)).sum::<u64>();
    let line = format!(
        "| {}..{} | {} | {} | {} | {} | {} | {} s |",
        seeds.start,
        seeds.end,
        outcomes.len(),
        sum(|struck| struck.faults),
        sum(|struck| struck.generations),
        sum(|struck| struck.repeated_steps),
        broken.len(),
        begun.elapsed().as_secs(),
    );
    println!("| seeds | runs | faults | generations | repeated steps | broken | time |\n{line}");
    if let Ok(table) = std::env::var("LOCKSTEP_CAMPAIGN_TABLE") {
        let mut table = std::fs::OpenOptions::new().append(true).open(table).unwrap();
        writeln!(table, "{line}").unwrap();
    }
    assert!(broken.is_empty(), "broken; again with LOCKSTEP_SEEDS=n..n+1: {broken:?}");
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("LOCKSTEP_SEEDS") else { return ORDINARY };
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("LOCKSTEP_SEEDS={text} is no range like 0..100"))
}
