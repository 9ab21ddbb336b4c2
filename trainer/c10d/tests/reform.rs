//! Groups are formed anew after every loss of a rank: they must leave nothing behind. Alone in its process, so that it can
//! count exactly.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::time::{Duration, Instant};

use lockstep_c10d::{Error, ProcessGroup, Reducer};
use support::{Model, ranks};

const RANKS: usize = 3;

/// Forms a group, trains a step, loses rank 0, notices.
fn form_train_and_lose() {
    ranks(RANKS, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = Reducer::new(&group, &model.params, &model.params.bucket_plan().unwrap()).unwrap();
        reducer.backward(&model.loss(0, 8)).unwrap();
        if rank.rank == 0 {
            group.abort("lost on purpose");
        } else {
            let error = reducer.backward(&model.loss(0, 8)).unwrap_err();
            assert!(matches!(error, Error::PeerLost { .. }), "{error:?}");
        }
    });
}

/// Threads and open files of this process.
fn usage() -> (usize, usize) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn twenty_groups_leave_no_threads_or_files_behind() {
    // libtorch starts what it keeps for the whole process with the first group.
    form_train_and_lose();
    let before = usage();
    for _ in 0..20 {
        form_train_and_lose();
    }
    // A thread that has ended may be listed a little longer.
    let deadline = Instant::now() + Duration::from_secs(5);
    while (usage().0 > before.0 || usage().1 > before.1) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = usage();
    assert!(after.0 <= before.0 && after.1 <= before.1, "(threads, files): {before:?} became {after:?}");
}
