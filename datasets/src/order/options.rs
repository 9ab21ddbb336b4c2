use std::sync::Arc;

use crate::{Error, Result, order::EpochOrder};

/// What happens to the samples that don't fill the last step of an epoch. They are never repeated silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// They are left out of this epoch; another epoch leaves out others.
    #[default]
    Drop,
    /// The last step is filled up with empty slots, which the batch's mask marks.
    Pad,
}

/// How samples are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle {
    /// Parts of the dataset that are read side by side; each step takes the same share of each.
    pub lanes: u32,
    /// Samples of a lane that are mixed with one another; a second pass mixes neighbouring blocks.
    pub block: u32,
}

impl Default for Shuffle {
    fn default() -> Self {
        Self { lanes: 8, block: 1 << 14 }
    }
}

/// What fixes the order of a dataset's samples; all of it is part of the state that a run resumes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderOptions {
    /// Seed of the shuffle.
    pub seed: u64,
    /// Samples of a step, over all ranks.
    pub global_batch: u32,
    /// `None` takes the samples as they are stored, each epoch.
    pub shuffle: Option<Shuffle>,
    /// The end of the epoch.
    pub tail: Tail,
}

/// The order of all epochs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Order {
    options: OrderOptions,
    shards: Arc<[u64]>,
    num_samples: u64,
}

impl Order {
    /// `shards` holds the number of samples of each shard.
    ///
    /// # Errors
    /// [`Error::NoSteps`] when an epoch would have none; [`Error::BadOption`] for zeros.
    pub fn new(options: OrderOptions, shards: &[u64]) -> Result<Self> {
        if options.global_batch == 0 {
            return Err(Error::option("train.globalBatch", "at least 1", 0));
        }
        if let Some(Shuffle { lanes, block }) = options.shuffle {
            if lanes == 0 {
                return Err(Error::option("data.shuffle.lanes", "at least 1", lanes));
            }
            if block < 2 {
                return Err(Error::option("data.shuffle.block", "at least 2", block));
            }
        }
        let order = Self { options, shards: shards.into(), num_samples: shards.iter().sum() };
        if order.steps_per_epoch() == 0 {
            return Err(Error::NoSteps { samples: order.num_samples, global_batch: options.global_batch });
        }
        Ok(order)
    }

    /// The options it was made from.
    pub fn options(&self) -> &OrderOptions {
        &self.options
    }

    /// Samples of the dataset.
    pub fn num_samples(&self) -> u64 {
        self.num_samples
    }

    /// Steps of each epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        let batch = u64::from(self.options.global_batch);
        match self.options.tail {
            Tail::Drop => self.num_samples / batch,
            Tail::Pad => self.num_samples.div_ceil(batch),
        }
    }

    /// Epoch of a step, and the step inside it. Steps count from 0 over all epochs.
    pub fn epoch_of(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch(), step % self.steps_per_epoch())
    }

    /// The order of one epoch; takes time and memory for each shard, none for the samples.
    pub fn epoch(&self, epoch: u64) -> EpochOrder {
        EpochOrder::new(&self.options, &self.shards, epoch)
    }
}
