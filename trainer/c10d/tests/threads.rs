//! The process group contract with ranks that are threads of one process.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_c10d::{
    Error, GlooGroup, GlooOptions, Listen, MemoryStore, ProcessGroup, Store, StoreError, conformance,
};
use support::{options, ranks};
use tch::Device;

#[test]
fn gloo_keeps_the_contract_at_1_to_4_ranks() {
    for world_size in 1..=4 {
        ranks(world_size, |rank| {
            conformance::check(Device::Cpu, &|name| Ok(Box::new(rank.form(name)?))).unwrap();
        });
    }
}

fn form_alone(store: impl Store + 'static, options: &GlooOptions) -> (Error, Duration) {
    let since = Instant::now();
    let error = GlooGroup::form(Arc::new(store), 0, 2, options).unwrap_err();
    (error, since.elapsed())
}

#[test]
fn a_rank_that_never_comes_is_named_by_the_store_within_the_form_timeout() {
    let options = GlooOptions { form_timeout: Duration::from_millis(400), ..options() };
    let (error, elapsed) = form_alone(MemoryStore::new(), &options);
    let Error::Store { rank: 0, world_size: 2, source: StoreError::Timeout { key, waited } } = error else {
        panic!("{error:?}");
    };
    assert!(!key.is_empty());
    assert!(waited <= options.form_timeout && elapsed < 3 * options.form_timeout, "{waited:?} {elapsed:?}");
}

/// Fails or panics when a group is being formed.
#[derive(Debug)]
struct BadStore {
    panics: bool,
}

impl BadStore {
    fn fail<T>(&self, key: &str) -> Result<T, StoreError> {
        assert!(!self.panics, "thrown on purpose");
        Err(StoreError::Failed { key: key.to_owned(), reason: "refused on purpose".to_owned() })
    }
}

impl Store for BadStore {
    fn set(&self, key: &str, _: &[u8]) -> Result<(), StoreError> {
        self.fail(key)
    }
    fn get(&self, key: &str, _: Duration) -> Result<Vec<u8>, StoreError> {
        self.fail(key)
    }
    fn add(&self, key: &str, _: i64) -> Result<i64, StoreError> {
        self.fail(key)
    }
    fn compare_set(&self, key: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.fail(key)
    }
    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.fail(key)
    }
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        self.fail(keys[0])
    }
    fn wait(&self, keys: &[&str], _: Duration) -> Result<(), StoreError> {
        self.fail(keys[0])
    }
}

#[test]
fn a_failing_store_is_told_in_its_own_words() {
    let (error, _) = form_alone(BadStore { panics: false }, &options());
    let Error::Store { source: StoreError::Failed { reason, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(reason, "refused on purpose");
}

#[test]
fn a_panic_of_the_store_passes_through_cpp_as_an_error() {
    let (error, _) = form_alone(BadStore { panics: true }, &options());
    let Error::Store { source: StoreError::Panicked { message, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(message, "thrown on purpose");
}

#[test]
fn bad_arguments_are_named() {
    let form = |rank, world_size, listen: Listen, threads| {
        let options = GlooOptions { listen, threads, ..options() };
        GlooGroup::form(Arc::new(MemoryStore::new()), rank, world_size, &options).unwrap_err().to_string()
    };
    let loopback = || Listen::Host("127.0.0.1".to_owned());
    assert!(form(2, 2, loopback(), 1).contains("rank 2 is not below the world size 2"));
    assert!(form(0, 1, loopback(), 0).contains("at least 1"));
    let no_interface = form(0, 1, Listen::Interface("no-such0".to_owned()), 1);
    assert!(
        no_interface.contains("no-such0") && !no_interface.contains("Exception raised from"),
        "{no_interface}"
    );
    let no_host = form(0, 1, Listen::Host("203.0.113.1".to_owned()), 1);
    assert!(no_host.contains("cannot listen on") && no_host.contains("203.0.113.1"), "{no_host}");
}

/// Threads and open files of this process.
fn usage() -> (usize, usize) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn groups_formed_anew_leave_no_threads_or_files() {
    let form_all = || {
        ranks(3, |rank| rank.form("group").unwrap().barrier(Duration::from_secs(10)).unwrap());
    };
    form_all();
    let before = usage();
    for _ in 0..20 {
        form_all();
    }
    // Other tests of this binary run beside this one, with a few groups of their own at a time.
    let after = usage();
    assert!(after.0 < before.0 + 60 && after.1 < before.1 + 60, "{before:?} {after:?}");
}
