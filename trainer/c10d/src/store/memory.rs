//! A store for ranks that are threads of one process.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Store, StoreError};

/// A [`Store`] in this process's memory. Share it in an [`Arc`](std::sync::Arc).
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: Mutex<HashMap<String, Vec<u8>>>,
    changed: Condvar,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    // No code that holds the lock can leave the map half changed, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all of `keys` have values; the lock is still held.
    fn wait_locked(
        &self,
        keys: &[&str],
        timeout: Duration,
    ) -> Result<MutexGuard<'_, HashMap<String, Vec<u8>>>, StoreError> {
        let missing = |values: &HashMap<String, Vec<u8>>| keys.iter().find(|key| !values.contains_key(**key));
        let (values, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |values| missing(values).is_some())
            .unwrap_or_else(PoisonError::into_inner);
        match missing(&values) {
            None => Ok(values),
            Some(key) => Err(StoreError::Timeout { key: (*key).to_owned(), waited: timeout }),
        }
    }
}

impl Store for MemoryStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.lock().insert(key.to_owned(), value.to_owned());
        self.changed.notify_all();
        Ok(())
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        Ok(self.wait_locked(&[key], timeout)?[key].clone())
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError> {
        let failed = |reason: &str| StoreError::Failed { key: key.to_owned(), reason: reason.to_owned() };
        let mut values = self.lock();
        let before = match values.get(key) {
            None => 0,
            Some(value) => std::str::from_utf8(value)
                .ok()
                .and_then(|digits| digits.parse::<i64>().ok())
                .ok_or_else(|| failed("its value is not a counter"))?,
        };
        let sum = before.checked_add(amount).ok_or_else(|| failed("the counter is full"))?;
        values.insert(key.to_owned(), sum.to_string().into_bytes());
        self.changed.notify_all();
        Ok(sum)
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut values = self.lock();
        let matches = values.get(key).map_or(expected.is_empty(), |value| value == expected);
        if matches {
            values.insert(key.to_owned(), desired.to_owned());
            self.changed.notify_all();
        }
        Ok(values.get(key).map_or_else(|| expected.to_owned(), Clone::clone))
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.lock().remove(key).is_some())
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        let values = self.lock();
        Ok(keys.iter().all(|key| values.contains_key(*key)))
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        self.wait_locked(keys, timeout).map(drop)
    }
}
