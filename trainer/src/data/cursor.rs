use crate::checkpoint::STATE;
use crate::{Error, Result};
use lockstep_datasets::{Order, OrderOptions};
use serde::{Deserialize, Serialize};

/// Where the training data goes on: what fixes the sample order, and a place in it. World size is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// The epoch of the next sample.
    pub epoch: u64,
    /// Its position in the epoch's order.
    pub next_position: u64,
    /// Seed of the order.
    pub seed: u64,
    /// Lanes of the shuffle; 0 for the stored order.
    pub lanes: u32,
    /// Samples of a step, over all ranks.
    pub global_batch: u32,
    /// Block of the shuffle; 0 for the stored order.
    pub block: u32,
}

impl Cursor {
    /// The place before the order's step `index`, counted from 0 over all epochs.
    pub fn before(order: &Order, index: u64) -> Self {
        let (epoch, step) = order.epoch_of(index);
        let OrderOptions { seed, global_batch, shuffle, .. } = *order.options();
        Self {
            epoch,
            next_position: step * u64::from(global_batch),
            seed,
            lanes: shuffle.map_or(0, |s| s.lanes),
            global_batch,
            block: shuffle.map_or(0, |s| s.block),
        }
    }

    /// The step of `order` that goes on from here.
    ///
    /// At the start of an epoch any order will do. Within one the order must be the same, or samples would be seen twice
    /// or never; only the global batch may change, to one that divides what was seen.
    pub fn index_in(&self, order: &Order) -> Result<u64> {
        let first = order.steps_per_epoch().saturating_mul(self.epoch);
        if self.next_position == 0 {
            return Ok(first);
        }
        let now = Self::before(order, 0);
        let same = (self.seed, self.lanes, self.block) == (now.seed, now.lanes, now.block);
        if !same {
            let reason = format!(
                "it stopped {} samples into an epoch whose order had seed {}, {} lanes and blocks of {}; the job has {}, {} \
                 and {} (data.seed, data.shuffle), which would lose or repeat samples",
                self.next_position, self.seed, self.lanes, self.block, now.seed, now.lanes, now.block
            );
            return Err(Error::state(STATE, reason));
        }
        if !self.next_position.is_multiple_of(now.global_batch.into()) {
            let reason = format!(
                "it stopped {} samples into an epoch, which is not a multiple of train.globalBatch {}; before, that was {}",
                self.next_position, now.global_batch, self.global_batch
            );
            return Err(Error::state(STATE, reason));
        }
        let step = self.next_position / u64::from(now.global_batch);
        // What a smaller batch would still have taken may not fill a larger one: then the epoch is over.
        Ok(first.saturating_add(step.min(order.steps_per_epoch())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_datasets::{Shuffle, Tail};

    fn order(seed: u64, global_batch: u32, tail: Tail) -> Order {
        let shuffle = Some(Shuffle { lanes: 2, block: 8 });
        Order::new(OrderOptions { seed, global_batch, shuffle, tail }, &[40, 60]).unwrap()
    }

    #[test]
    fn a_place_is_found_again_over_epochs() {
        for tail in [Tail::Drop, Tail::Pad] {
            let order = order(1, 16, tail);
            for index in 0..50 {
                assert_eq!(Cursor::before(&order, index).index_in(&order).unwrap(), index, "{tail:?}");
            }
        }
        let cursor = Cursor::before(&order(1, 16, Tail::Drop), 8);
        assert_eq!((cursor.epoch, cursor.next_position), (1, 32));
    }

    #[test]
    fn the_batch_may_change_where_it_divides_and_the_order_only_between_epochs() {
        let cursor = Cursor::before(&order(1, 16, Tail::Drop), 8);
        assert_eq!(cursor.index_in(&order(1, 32, Tail::Drop)).unwrap(), 3 + 1);
        assert_eq!(cursor.index_in(&order(1, 8, Tail::Drop)).unwrap(), 12 + 4);
        let error = |order: Order| cursor.index_in(&order).unwrap_err().to_string();
        assert!(error(order(1, 20, Tail::Drop)).contains("not a multiple of train.globalBatch 20"));
        assert!(error(order(2, 16, Tail::Drop)).contains("lose or repeat"));
        let between = Cursor::before(&order(1, 16, Tail::Drop), 6);
        assert_eq!(between.index_in(&order(2, 20, Tail::Drop)).unwrap(), 5);
    }
}
