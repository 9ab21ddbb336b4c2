//! Groups of ranks and their collectives.

mod c10d;
mod gloo;
mod nccl;
mod passes_on;
mod sockets;
mod tensors;

use std::ffi::c_int;
use std::fmt::Debug;
use std::time::Duration;

use tch::Tensor;

pub use c10d::{C10dGroup, Pending};
pub(crate) use c10d::{Failure, OwnedReducer, Shared, State, milliseconds};
pub use gloo::{GlooGroup, GlooOptions, Listen};
pub use nccl::{NcclGroup, NcclOptions};
use passes_on::passes_on;

use crate::Result;

/// How [`ProcessGroup::all_reduce`] combines the ranks' elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    /// The sum.
    Sum,
    /// The sum divided by the world size; floating point tensors only.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// A fixed set of ranks that act together.
///
/// # Collective
///
/// Every method from [`all_reduce`](Self::all_reduce) to [`barrier`](Self::barrier) is a collective: all ranks call the
/// same ones in the same order, with tensors of the same shape and kind and the same other arguments. Each collective
/// returns on a rank once that rank's result is there. On one rank a group does one operation at a time: calls from
/// several threads wait for one another, and agreeing on their order between ranks is the callers' concern.
///
/// # Results
///
/// The result of a reduction is bit-identical on all ranks, and for a fixed rank order the same in every run. Tensors are
/// written in place, behind autograd's back: a parameter that requires gradients can be broadcast. They must be dense,
/// contiguous, on the group's device, and of a kind that is not complex, bool or quantized; an empty tensor is fine.
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) is an argument that breaks this contract; nothing was sent, the group is as
/// it was, and since all ranks pass the same arguments all of them get it. Any other failure of a collective is
/// [`Error::PeerLost`](crate::Error::PeerLost): it aborts the group, which closes this rank's connections, so that the
/// others' collectives fail too and nobody waits for long. The content of tensors that were being written is then
/// undefined. After that every call is [`Error::Aborted`](crate::Error::Aborted).
///
/// # Blocking
///
/// Collectives wait for the other ranks. A rank whose connection breaks is noticed at once; one that hangs after the
/// group's collective timeout, or the deadline of [`barrier`](Self::barrier). No call and no drop waits longer.
pub trait ProcessGroup: Debug + Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn world_size(&self) -> usize;

    /// Replaces each element of `tensor` by the combination of all ranks' elements.
    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Result<()>;

    /// The same without waiting for it: other work goes on meanwhile, and the result is what [`Pending::wait`] returns. Until
    /// then `tensor` is not to be touched. Counts as called here, for the order of collectives.
    fn start_all_reduce(&self, tensor: Tensor, op: ReduceOp) -> Result<Pending>;

    /// Replaces `tensor` by that of rank `root`.
    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()>;

    /// Replaces each of `tensors` by that of rank `root`, many in one message. For a model's parameters and buffers.
    fn broadcast_coalesced(&self, tensors: &[Tensor], root: usize) -> Result<()>;

    /// The ranks' tensors stacked in rank order: shape `[world_size, ...]`.
    fn all_gather(&self, tensor: &Tensor) -> Result<Tensor>;

    /// Returns once all ranks have called it, or fails after `deadline`.
    fn barrier(&self, deadline: Duration) -> Result<()>;

    /// Ends the group on this rank, for a reason that later calls repeat: closes its connections, so that the others
    /// fail. A collective that another thread is in fails at once. Doesn't wait for that.
    fn abort(&self, reason: &str);

    /// Why the group was aborted, if it was.
    fn aborted(&self) -> Option<String>;

    /// The libtorch group behind it, which a [`Reducer`](crate::Reducer) works on.
    fn c10d(&self) -> &C10dGroup;
}

/// A rank and the number of ranks as libtorch counts them.
fn ranks(rank: usize, world_size: usize) -> Result<(c_int, c_int), String> {
    if rank >= world_size {
        return Err(format!("rank {rank} is not below the world size {world_size}"));
    }
    c_int::try_from(rank)
        .and_then(|rank| Ok((rank, c_int::try_from(world_size)?)))
        .map_err(|_| format!("{world_size} ranks are too many"))
}
