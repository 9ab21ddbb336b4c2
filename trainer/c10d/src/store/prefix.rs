//! A part of a store that has its own keys.

use std::sync::Arc;
use std::time::Duration;

use super::{Store, StoreError};

/// A view of a store in which every key starts with `prefix/`: one for each group, so that the keys of an earlier
/// group are never taken for those of the next. It adds keys as c10d's own PrefixStore does.
#[derive(Clone, Debug)]
pub struct PrefixStore {
    prefix: String,
    store: Arc<dyn Store>,
}

impl PrefixStore {
    /// The view of `store` under `prefix`.
    pub fn new(prefix: impl Into<String>, store: Arc<dyn Store>) -> Self {
        Self { prefix: prefix.into(), store }
    }

    fn join(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }

    fn join_all<T>(&self, keys: &[&str], call: impl FnOnce(&[&str]) -> T) -> T {
        let keys: Vec<String> = keys.iter().map(|key| self.join(key)).collect();
        call(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Store for PrefixStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.set(&self.join(key), value)
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        self.store.get(&self.join(key), timeout)
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError> {
        self.store.add(&self.join(key), amount)
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.compare_set(&self.join(key), expected, desired)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.store.delete(&self.join(key))
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        self.join_all(keys, |keys| self.store.check(keys))
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        self.join_all(keys, |keys| self.store.wait(keys, timeout))
    }
}
