//! Distributed data parallel training with libtorch's own c10d, from Rust.
//!
//! What trains here is what trains in PyTorch: the same Gloo collectives, the same `Reducer` that overlaps gradient
//! all-reduce with backward, the same fused optimizer kernels. This crate is a thin C++ shim over them (`shim/`) and a
//! safe wrapper, and it holds the workspace's only `unsafe`.
//!
//! - [`Store`]: the key-value store through which the ranks of a group find one another. Implemented in Rust, over
//!   whatever channel there is; [`MemoryStore`] serves ranks that are threads, [`PrefixStore`] gives each group its own keys.
//! - [`ProcessGroup`]: the collectives, with a written contract that [`conformance`] checks. [`GlooGroup`] is the one for
//!   CPUs, [`NcclGroup`] the one for GPUs.
//! - [`Cuda`]: the GPU of this process, opened at run time; a [`CudaMissing`] says what there isn't.
//! - [`Parameters`]: a model's named parameters in one fixed order.
//! - [`BucketPlan`] and [`Reducer`]: DDP with a bucket layout that never changes, so that a resumed run has the same bits.
//! - [`Exchange`]: in which numbers gradients go over the network.
//! - [`AdamW`], [`Sgd`]: fused, their state in plain named tensors. [`Parameters::clip_grad_norm`]: no wait for the device.
//! - [`Masters`]: parameters in 16 bits beside those in 32 that are trained. [`LossScale`]: what keeps the gradients of fp16 in range.
//! - [`WeightAverage`]: a moving average of the parameters.
//! - [`linear_cross_entropy`]: the loss of a language model, without a copy of all its logits.
//! - [`synced_batch_norm`]: a batch normalisation by the samples of all ranks.
//! - [`Autocast`]: matrix products in bf16, by PyTorch's rules.
//! - [`recompute`]: activations that backward computes again instead of finding them kept.
//! - [`to_device`]: a copy on a GPU that nobody waits for.
//! - [`Reads`]: counts how often a thread waits for a device to read a number.
//! - [`rng`]: the generator's state, for checkpoints.
//!
//! A step with two micro batches:
//!
//! ```no_run
//! # use lockstep_c10d::*;
//! # fn step(loss: impl Fn(u32) -> tch::Tensor, params: &Parameters, reducer: &mut Reducer, optimizer: &mut AdamW) -> Result<()> {
//! params.zero_grad()?;
//! reducer.accumulate(&loss(0))?;
//! reducer.backward(&loss(1))?;
//! let norm = params.clip_grad_norm(Some(1.0))?;
//! optimizer.step(3e-4, Some(&norm.non_finite))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Failure
//!
//! Nothing here panics on bad input, no C++ exception gets out, and no panic of a [`Store`] gets in. When a peer is lost,
//! the first collective that notices fails with [`Error::PeerLost`], the group closes its connections, which lets the
//! peers' collectives fail in turn, and everything built on the group refuses further work: form a new one.
#![allow(unsafe_code)] // The one crate that talks to C++. Each block states why it is sound.

mod autocast;
mod average;
mod batch_norm;
pub mod conformance;
mod cuda;
mod error;
mod exchange;
mod ffi;
mod group;
mod loss;
mod loss_scale;
mod masters;
mod memory;
mod optim;
mod params;
mod plan;
mod reads;
mod recompute;
mod reducer;
pub mod rng;
mod store;
mod transfer;

pub use autocast::Autocast;
pub use average::WeightAverage;
pub use batch_norm::synced_batch_norm;
pub use cuda::{Cuda, CudaCode, CudaMemory, CudaMissing, Place};
pub use error::{Error, Result};
pub use exchange::Exchange;
pub use group::{
    C10dGroup, GlooGroup, GlooOptions, Listen, NcclGroup, NcclOptions, Pending, ProcessGroup, ReduceOp,
};
pub use loss::linear_cross_entropy;
pub use loss_scale::{Finiteness, LossScale, LossScaleState};
pub use masters::Masters;
pub use memory::{release_startup_code, return_freed_buffers};
pub use optim::{AdamW, AdamWOptions, Decay, Optimizer, Sgd, SgdOptions};
pub use params::{GradNorm, Parameters};
pub use plan::{BucketPlan, ParamSize, PlanError};
pub use reads::Reads;
pub use recompute::recompute;
pub use reducer::Reducer;
pub use store::{MemoryStore, PrefixStore, Store, StoreError};
pub use transfer::to_device;

/// The version of libtorch that this was built against, such as `2.11.0`. The bits of a run may differ between versions.
pub const LIBTORCH_VERSION: &str = env!("LIBTORCH_VERSION");
