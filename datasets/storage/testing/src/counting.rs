//! A store that counts what it is asked.

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_storage::{Created, Meta, Result, Storage};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Keys that one answer to a list holds, as real stores limit it.
const PAGE: usize = 1000;

/// Objects in memory, behind a counter of requests.
#[derive(Debug, Clone)]
pub struct Counting {
    inner: Arc<dyn Storage>,
    requests: Arc<AtomicUsize>,
}

impl Default for Counting {
    fn default() -> Self {
        Self { inner: lockstep_storage::open("memory://").unwrap(), requests: Arc::default() }
    }
}

impl Counting {
    /// It, as what it stands in for.
    pub fn shared(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// How many requests there were since the last reset; a list is one for each page.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.requests.store(0, Ordering::Relaxed);
    }

    /// How many objects it holds; not counted.
    pub async fn objects(&self) -> usize {
        self.inner.list("").await.unwrap().len()
    }

    fn count(&self, requests: usize) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }
}

#[async_trait]
impl Storage for Counting {
    fn uri(&self, path: &str) -> String {
        self.inner.uri(path)
    }

    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes> {
        self.count(1);
        self.inner.get_at_most(path, max).await
    }

    async fn get_listed(&self, listed: &Meta) -> Result<Bytes> {
        self.count(1);
        self.inner.get_listed(listed).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.count(1);
        self.inner.get_range(path, range).await
    }

    async fn head(&self, path: &str) -> Result<Meta> {
        self.count(1);
        self.inner.head(path).await
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        self.count(1);
        self.inner.create(path, body).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        self.count(1);
        self.inner.put(path, body).await
    }

    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool> {
        self.count(1);
        self.inner.replace(old, body).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let found = self.inner.list(folder).await?;
        self.count(found.len().div_ceil(PAGE).max(1));
        Ok(found)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.count(1);
        self.inner.folders(folder).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.count(1);
        self.inner.delete(path).await
    }
}
