use std::sync::Arc;

use crate::{CacheOptions, Dataset, Replica, Result, blocking, cache::Cache};

impl Dataset {
    /// Reads shards whose content is [expected](Self::expect), into the cache, and compares them: of all of them every
    /// `world_size`-th, until `max_bytes` were read. The rest is compared when it is used.
    ///
    /// Blocking.
    ///
    /// # Errors
    /// [`Error::Replaced`](crate::Error::Replaced) for the first that is another; whatever keeps one from being read.
    pub fn check_expected(&self, cache: &CacheOptions, replica: Replica, max_bytes: u64) -> Result<()> {
        let cache = Arc::new(Cache::new(self.clone(), cache)?);
        let mut left = max_bytes;
        blocking::run(async move {
            let expected = self.expected();
            let mine = expected.keys().skip(replica.rank() as usize).step_by(replica.world_size() as usize);
            for shard in mine {
                let number = *shard as usize;
                let Some(rest) = left.checked_sub(self.shards()[number].raw_data.bytes) else { break };
                left = rest;
                cache.clone().open(number, Arc::from([])).await?;
            }
            Ok(())
        })
    }
}
