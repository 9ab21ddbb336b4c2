//! A block in its place among the others, kept or computed again.

use super::block::Block;
use crate::task::TaskError;
use lockstep_c10d::recompute;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tch::Tensor;

#[derive(Debug)]
pub(super) struct Layer {
    /// Shared with what backward is to compute again, on whichever thread it runs.
    block: Arc<Mutex<Block>>,
    recomputes: bool,
}

impl Layer {
    /// `recomputes`: whether only the block's input is kept until backward.
    pub(super) fn new(block: Block, recomputes: bool) -> Self {
        Self { block: Arc::new(Mutex::new(block)), recomputes }
    }

    /// Shapes: `x` and result `[B, T, W]`
    pub(super) fn forward(&self, x: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        if !(self.recomputes && is_training) {
            return locked(&self.block).forward(x, is_training);
        }
        let block = Arc::clone(&self.block);
        let made = recompute(x, move |x| locked(&block).forward(x, true));
        made.map_err(|error| TaskError::Other(Box::new(error)))
    }
}

/// A block has no state that a panic could leave half changed.
fn locked(block: &Mutex<Block>) -> MutexGuard<'_, Block> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}
