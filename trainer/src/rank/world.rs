use crate::{Error, Result};
use lockstep_c10d::{Pending, ProcessGroup, ReduceOp};
use lockstep_run::{Rank, Step};
use std::sync::Arc;
use tch::Tensor;

/// This rank among all, and the few collectives that training needs beside the Reducer's.
#[derive(Debug, Clone)]
pub(crate) struct World {
    rank: Rank,
    size: u32,
    /// For numbers that ranks tell one another: on CPUs.
    control: Arc<dyn ProcessGroup>,
    /// For tensors of the model, where they are. The same one on CPUs.
    tensors: Arc<dyn ProcessGroup>,
}

impl World {
    /// A group that has formed on CPUs.
    pub(crate) fn new(rank: Rank, size: u32, group: Arc<dyn ProcessGroup>) -> Self {
        Self { rank, size, control: Arc::clone(&group), tensors: group }
    }

    /// The same world, whose models are on another device, with a group of the same ranks there.
    pub(crate) fn with_tensors(self, tensors: Arc<dyn ProcessGroup>) -> Self {
        Self { tensors, ..self }
    }

    /// This rank.
    pub(crate) fn rank(&self) -> Rank {
        self.rank
    }

    /// Number of ranks.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// True on rank 0, which saves and reports.
    pub(crate) fn is_first(&self) -> bool {
        self.rank.0 == 0
    }

    /// The group on the model's device.
    pub(crate) fn tensors(&self) -> &dyn ProcessGroup {
        self.tensors.as_ref()
    }

    /// Sums each number over the ranks.
    pub(crate) fn sum(&self, during: &'static str, step: Step, values: &[f64]) -> Result<Vec<f64>> {
        let tensor = Tensor::f_from_slice(values)?;
        self.control.all_reduce(&tensor, ReduceOp::Sum).map_err(self.lost(during, step))?;
        Ok(tensor.try_into()?)
    }

    /// Begins to sum a count over the ranks.
    pub(crate) fn start_count(&self, during: &'static str, step: Step, count: u64) -> Result<Pending> {
        let count = Tensor::f_from_slice(&[count.cast_signed()])?;
        self.control.start_all_reduce(count, ReduceOp::Sum).map_err(self.lost(during, step))
    }

    /// Begins to sum a tensor of the model over the ranks.
    pub(crate) fn start_sum(&self, during: &'static str, step: Step, tensor: Tensor) -> Result<Pending> {
        self.tensors.start_all_reduce(tensor, ReduceOp::Sum).map_err(self.lost(during, step))
    }

    /// Waits for a sum that was begun.
    pub(crate) fn wait(&self, sum: Pending, during: &'static str, step: Step) -> Result<Tensor> {
        sum.wait().map_err(self.lost(during, step))
    }

    /// The largest of each number over the ranks.
    pub(crate) fn max(&self, during: &'static str, step: Step, values: &[i64]) -> Result<Vec<i64>> {
        let tensor = Tensor::f_from_slice(values)?;
        self.control.all_reduce(&tensor, ReduceOp::Max).map_err(self.lost(during, step))?;
        Ok(tensor.try_into()?)
    }

    /// The number of every rank, in rank order.
    pub(crate) fn gather(&self, during: &'static str, step: Step, value: f64) -> Result<Vec<f64>> {
        let all =
            self.control.all_gather(&Tensor::f_from_slice(&[value])?).map_err(self.lost(during, step))?;
        Ok(all.f_flatten(0, -1)?.try_into()?)
    }

    /// The same for a word of 128 bits.
    pub(crate) fn gather_words(&self, during: &'static str, step: Step, word: u128) -> Result<Vec<u128>> {
        let halves = Tensor::f_from_slice(&[(word >> 64) as i64, word as i64])?;
        let all = self.control.all_gather(&halves).map_err(self.lost(during, step))?;
        let all: Vec<i64> = all.f_flatten(0, -1)?.try_into()?;
        let half = |half: i64| u128::from(half.cast_unsigned());
        Ok(all.chunks_exact(2).map(|halves| half(halves[0]) << 64 | half(halves[1])).collect())
    }

    /// Copies rank 0's tensors of the model to all others.
    pub(crate) fn broadcast(&self, during: &'static str, step: Step, tensors: &[Tensor]) -> Result<()> {
        self.broadcast_from(Rank(0), during, step, tensors)
    }

    /// Copies a rank's tensors of the model to all others.
    pub(crate) fn broadcast_from(
        &self,
        source: Rank,
        during: &'static str,
        step: Step,
        tensors: &[Tensor],
    ) -> Result<()> {
        self.tensors.broadcast_coalesced(tensors, source.0 as usize).map_err(self.lost(during, step))
    }

    /// Turns what a collective says into the loss of a peer, which is what it means unless libtorch refused the call.
    pub(crate) fn lost(&self, during: &'static str, step: Step) -> impl Fn(lockstep_c10d::Error) -> Error {
        let rank = self.rank;
        move |e| match e {
            e if e.is_group_lost() => Error::PeerLost { rank, step, during, reason: e.to_string() },
            e => e.into(),
        }
    }
}
