//! The contract of [`Store`].

use std::thread;
use std::time::{Duration, Instant};

use crate::{Store, StoreError};

/// Long enough for a call that has nothing to wait for.
const SOON: Duration = Duration::from_secs(10);
/// For a key that never comes.
const SHORT: Duration = Duration::from_millis(100);

/// Checks a store that has no keys yet.
///
/// # Errors
///
/// A call that failed and should not have.
pub fn store(store: &dyn Store) -> Result<(), StoreError> {
    values_are_bytes(store)?;
    counters(store)?;
    compare_set(store)?;
    waits_end_in_time(store)?;
    waits_end_when_the_key_comes(store)?;
    additions_of_several_threads_all_count(store)
}

fn values_are_bytes(store: &dyn Store) -> Result<(), StoreError> {
    assert!(!store.check(&["bytes"])?);
    for value in [&[][..], &[0, 255, b'"', b'\n'], &[7; 100_000]] {
        store.set("bytes", value)?;
        assert_eq!(store.get("bytes", SOON)?, value, "the last value set");
    }
    store.set("key/with \"quotes\" and \u{e4}", b"v")?;
    assert_eq!(store.get("key/with \"quotes\" and \u{e4}", SOON)?, b"v");
    assert!(store.delete("bytes")?);
    assert!(!store.delete("bytes")?, "gone already");
    assert!(!store.check(&["bytes"])?);
    Ok(())
}

fn counters(store: &dyn Store) -> Result<(), StoreError> {
    assert_eq!(store.add("counter", 0)?, 0, "a counter starts at 0");
    assert_eq!(store.add("counter", 5)?, 5);
    assert_eq!(store.add("counter", -7)?, -2);
    assert_eq!(store.get("counter", SOON)?, b"-2", "its value is decimal digits");
    store.set("counter", b"40")?;
    assert_eq!(store.add("counter", 2)?, 42);
    store.set("no counter", b"many")?;
    let error = store.add("no counter", 1);
    assert!(matches!(error, Err(StoreError::Failed { .. })), "{error:?}");
    Ok(())
}

fn compare_set(store: &dyn Store) -> Result<(), StoreError> {
    assert_eq!(store.compare_set("cas", b"old", b"new")?, b"old", "no value: what was expected");
    assert!(!store.check(&["cas"])?, "and still no value");
    assert_eq!(store.compare_set("cas", b"", b"first")?, b"first");
    assert_eq!(store.compare_set("cas", b"", b"second")?, b"first", "too late");
    assert_eq!(store.compare_set("cas", b"first", b"third")?, b"third");
    assert_eq!(store.get("cas", SOON)?, b"third");
    Ok(())
}

fn waits_end_in_time(store: &dyn Store) -> Result<(), StoreError> {
    store.set("here", b"")?;
    store.wait(&["here"], SOON)?;
    store.wait(&[], SOON)?;
    assert!(store.check(&["here"])? && !store.check(&["here", "never"])?);
    let since = Instant::now();
    for result in [store.get("never", SHORT).map(drop), store.wait(&["here", "never"], SHORT)] {
        let Err(StoreError::Timeout { key, .. }) = &result else { panic!("{result:?}") };
        assert!(key.ends_with("never"), "the key that did not come, not {key:?}");
    }
    assert!(since.elapsed() >= 2 * SHORT && since.elapsed() < SOON, "{:?}", since.elapsed());
    Ok(())
}

fn waits_end_when_the_key_comes(store: &dyn Store) -> Result<(), StoreError> {
    thread::scope(|scope| {
        let setter = scope.spawn(|| {
            store.wait(&["waiting"], SOON)?;
            store.set("late", b"came")
        });
        store.set("waiting", b"")?;
        assert_eq!(store.get("late", SOON)?, b"came");
        setter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn additions_of_several_threads_all_count(store: &dyn Store) -> Result<(), StoreError> {
    thread::scope(|scope| {
        let add = || (0..50).try_for_each(|_| store.add("sum", 1).map(drop));
        let adders = [scope.spawn(add), scope.spawn(add), scope.spawn(add)];
        for adder in adders {
            adder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        assert_eq!(store.add("sum", 0)?, 150);
        Ok(())
    })
}
