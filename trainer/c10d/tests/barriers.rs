//! Barriers of several groups at one time. A program of its own: where they share anything, it ends in a crash of malloc.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::sync::Arc;

use lockstep_c10d::{GlooGroup, MemoryStore, ProcessGroup};
use support::{DEADLINE, options};

/// Enough that 4 threads which share one tensor free it twice, on one core too.
const BARRIERS: usize = 5_000;

#[test]
fn threads_with_groups_of_their_own_share_nothing() {
    let alone = || {
        let group = GlooGroup::form(Arc::new(MemoryStore::new()), 0, 1, &options()).unwrap();
        for _ in 0..BARRIERS {
            group.barrier(DEADLINE).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(alone);
        }
    });
}
