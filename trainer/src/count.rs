//! How many items the global batch of a step has.

use crate::Result;
use crate::rank::World;
use crate::task::Items;
use lockstep_c10d::Pending;
use lockstep_run::Step;

const COUNTING: &str = "counting items";

/// The number, or a sum over the ranks that is being made.
pub(crate) enum Count {
    Known(u64),
    Summed(Pending),
}

impl Count {
    /// Of a global batch with so many samples, of which this rank has `own`; none of the others may miss any, or all are asked.
    ///
    /// Collective where they are.
    pub(crate) fn start(
        items: Items,
        own: usize,
        global_samples: Option<u64>,
        world: &World,
        step: Step,
    ) -> Result<Self> {
        Ok(match (items, global_samples) {
            (Items::PerSample(each), Some(global_samples)) => Self::Known(each * global_samples),
            (items, _) => Self::Summed(world.start_count(COUNTING, step, items.of(own))?),
        })
    }

    /// The number; waits for it, where the ranks are still adding up.
    pub(crate) fn total(&mut self, world: &World, step: Step) -> Result<u64> {
        let total = match std::mem::replace(self, Self::Known(0)) {
            Self::Known(total) => total,
            Self::Summed(pending) => {
                let sum = pending.wait().map_err(world.lost(COUNTING, step))?;
                sum.f_int64_value(&[0])?.cast_unsigned()
            }
        };
        *self = Self::Known(total);
        Ok(total)
    }
}
