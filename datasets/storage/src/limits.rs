use std::time::Duration;

use crate::{Error, Result};

/// How long a call may take. Every call of every implementation is bounded by these.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time for a call, its retries included, before the size of the object is added. Default 30 s.
    pub call: Duration,
    /// The slowest transfer that is waited for: each object of `n` bytes adds `n / rate` to [`Limits::call`].
    /// Bytes per second, default 1 MiB/s.
    pub min_bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { call: Duration::from_secs(30), min_bytes_per_second: 1 << 20 }
    }
}

impl Limits {
    /// The deadline for a call that moves `bytes`.
    pub fn budget(&self, bytes: u64) -> Duration {
        self.call + Duration::from_secs(bytes / self.min_bytes_per_second.max(1))
    }

    pub(crate) async fn bound<T>(
        &self,
        uri: impl FnOnce() -> String,
        operation: &'static str,
        bytes: u64,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let after = self.budget(bytes);
        match tokio::time::timeout(after, call).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { uri: uri(), operation, after }),
        }
    }
}
