use std::ops::Range;

use crate::{Error, Order, Result, order::EpochOrder};

/// One rank among `world_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    rank: u32,
    world_size: u32,
}

impl Replica {
    /// # Errors
    /// [`Error::BadOption`] when the rank is not below the world size.
    pub fn new(rank: u32, world_size: u32) -> Result<Self> {
        if rank >= world_size {
            return Err(Error::option("rank", format!("below the world size {world_size}"), rank));
        }
        Ok(Self { rank, world_size })
    }

    /// This rank.
    pub fn rank(self) -> u32 {
        self.rank
    }

    /// Number of ranks.
    pub fn world_size(self) -> u32 {
        self.world_size
    }
}

/// Which samples each step of a loader takes.
#[derive(Debug, Clone)]
pub(crate) enum Sampling {
    /// Training: epoch after epoch in the elastic order.
    Elastic { order: Order, replica: Replica, epoch: Option<(u64, EpochOrder)> },
    /// Evaluation: this rank's share, once, as stored.
    Once { samples: Range<u64>, batch: u64 },
}

impl Sampling {
    pub(crate) fn elastic(order: Order, replica: Replica) -> Result<Self> {
        let batch = order.options().global_batch;
        if !batch.is_multiple_of(replica.world_size()) {
            let rule = format!("a multiple of the world size {}", replica.world_size());
            return Err(Error::option("train.globalBatch", rule, batch));
        }
        Ok(Self::Elastic { order, replica, epoch: None })
    }

    pub(crate) fn once(num_samples: u64, batch: u32, replica: Replica) -> Result<Self> {
        if batch == 0 {
            return Err(Error::option("eval.microBatch", "at least 1", batch));
        }
        let cut = |rank: u32| {
            let (size, rest) = (
                num_samples / u64::from(replica.world_size()),
                num_samples % u64::from(replica.world_size()),
            );
            u64::from(rank) * size + u64::from(rank).min(rest)
        };
        Ok(Self::Once { samples: cut(replica.rank())..cut(replica.rank() + 1), batch: batch.into() })
    }

    /// How many steps there are; `None` has no end.
    pub(crate) fn num_steps(&self) -> Option<u64> {
        match self {
            Self::Elastic { .. } => None,
            Self::Once { samples, batch } => Some((samples.end - samples.start).div_ceil(*batch)),
        }
    }

    /// The epoch that a step of training belongs to.
    pub(crate) fn epoch(&self, step: u64) -> Option<u64> {
        match self {
            Self::Elastic { order, .. } => Some(order.epoch_of(step).0),
            Self::Once { .. } => None,
        }
    }

    /// `None` after the end.
    pub(crate) fn slots(&mut self, step: u64) -> Option<Vec<Option<u64>>> {
        match self {
            Self::Elastic { order, replica, epoch } => {
                let (number, step) = order.epoch_of(step);
                if epoch.as_ref().is_none_or(|(current, _)| *current != number) {
                    *epoch = Some((number, order.epoch(number)));
                }
                epoch.as_ref().map(|(_, order)| order.slots(step, *replica))
            }
            Self::Once { samples, batch } => {
                let begin = samples.start + step * *batch;
                let end = samples.end.min(begin.saturating_add(*batch));
                (begin < samples.end).then(|| (begin..end).map(Some).collect())
            }
        }
    }

    /// For each shard how far away its next use is at a step, in samples.
    pub(crate) fn next_uses(&self, step: u64, shards: &[u64]) -> Vec<u64> {
        match self {
            Self::Elastic { order, .. } => {
                let (epoch, step) = order.epoch_of(step);
                let now = step * u64::from(order.options().global_batch);
                let mut uses = vec![u64::MAX; shards.len()];
                let epochs = [(0, order.epoch(epoch)), (order.num_samples(), order.epoch(epoch + 1))];
                for (begin, order) in epochs {
                    for (shard, window) in order.windows() {
                        let (first, last) = (begin + window.start, begin + window.end);
                        if now < last {
                            uses[shard] = uses[shard].min(first.saturating_sub(now));
                        }
                    }
                }
                uses
            }
            Self::Once { samples, batch } => {
                let now = samples.start + step * batch;
                let mut end = 0;
                let distance = |size: &u64| {
                    end += size;
                    let begin = end - size;
                    if now < end && begin < samples.end { begin.saturating_sub(now) } else { u64::MAX }
                };
                shards.iter().map(distance).collect()
            }
        }
    }
}
