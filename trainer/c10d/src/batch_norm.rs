//! Batch normalisation by the samples of all ranks.
//!
//! PyTorch's own kernels for it are for GPUs only. This is made of those that any device has: a rank's statistics, a normalisation by
//! given ones, and its backward.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::ffi::{self, LsBytes, LsPeersTable, check, panic_message, raw};
use crate::group::{Failure, Shared};
use crate::{Error, ProcessGroup, Result};

const NAME: &str = "synced_batch_norm";

/// Normalises `input` by the mean and the variance that each channel has over the samples of all ranks, then scales it by `weight` and
/// adds `bias`. Ranks may have any number of samples, also none. Sums and statistics are `f32`, whatever the kind of the input, which
/// the output has too; as has its memory format.
///
/// Writes the common mean and the unbiased variance, for running statistics, to `mean` and `variance`: the same bits on all ranks. Of
/// a channel with a single number the variance is 0.
///
/// Backward makes the gradient of the **sum** of the ranks' losses with respect to `input`, and for `weight` and `bias` this rank's
/// part of it, as for any other parameter: a [`Reducer`](crate::Reducer) adds them up.
///
/// Shapes: `input` `[N, C, ...]`; `weight`, `bias`, `mean` and `variance` `[C]` of `f32`.
///
/// # Collective
///
/// All ranks of the group call it in the same order, and so do their backward passes, which are collectives of the same group: one that
/// nothing else uses while backward runs, and no [`Reducer`](crate::Reducer) ever. The order of backward is the graph's, which is
/// the same on ranks that build the same model. Both wait for the other ranks.
///
/// # Errors
///
/// [`Error::Invalid`] where shapes or kinds don't fit, before anything is sent; otherwise as
/// [`all_gather`](ProcessGroup::all_gather). In backward a lost peer is what it is where an all-reduction of gradients loses it, with
/// a reducer [`Error::PeerLost`]; a group that is in use is refused by libtorch's kind of error. There is no second derivative.
///
/// Source: Ioffe and Szegedy, Batch Normalization, 2015; statistics are joined as in Chan and others, Algorithms for Computing the
/// Sample Variance, 1983.
pub fn synced_batch_norm(
    group: &dyn ProcessGroup,
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    fits(input, [("weight", weight), ("bias", bias), ("mean", mean), ("variance", variance)])?;
    let mut mine = std::ptr::null_mut();
    // SAFETY: the tensor lives through the call; the place is written on success.
    check(unsafe { ffi::ls_batch_norm_stats(raw(input), &mut mine) }).map_err(|raised| raised.torch(NAME))?;
    // SAFETY: on success it is a new tensor that is ours.
    let mine = unsafe { Tensor::from_ptr(mine) };
    let of_ranks = group.all_gather(&mine)?;
    let context = Box::into_raw(Box::new(Arc::clone(group.c10d().shared()))).cast::<c_void>();
    let table = LsPeersTable { sum, release };
    let mut out = std::ptr::null_mut();
    // SAFETY: `table` lives through the call, which copies it, and the tensors do. The shim takes `context` over in every case and
    // gives it back through `release`, once, after its last other callback. The place is written on success.
    let code = unsafe {
        ffi::ls_batch_norm(
            &table,
            context,
            raw(input),
            raw(weight),
            raw(bias),
            raw(&of_ranks),
            raw(mean),
            raw(variance),
            eps,
            &mut out,
        )
    };
    check(code).map_err(|raised| raised.torch(NAME))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Refuses what libtorch would refuse on some ranks only, or after the others were told.
fn fits(input: &Tensor, of_channels: [(&str, &Tensor); 4]) -> Result<()> {
    let invalid = |problem: String| Err(Error::invalid(NAME, problem));
    if !input.defined() || input.dim() < 2 || input.size()[1] == 0 {
        return invalid("the input must be [samples, channels, ...], with a channel at least".to_owned());
    }
    let kind = |tensor: &Tensor| tensor.f_kind().map_err(|error| Error::torch(NAME, error));
    let found = kind(input)?;
    if !matches!(found, Kind::Float | Kind::BFloat16 | Kind::Half) {
        return invalid(format!("the input is {found:?}: take Float, BFloat16 or Half"));
    }
    let channels = input.size()[1];
    for (name, tensor) in of_channels {
        if !tensor.defined() || tensor.size() != [channels] || kind(tensor)? != Kind::Float {
            return invalid(format!("{name} must be [{channels}] of Float, as the input has channels"));
        }
        if tensor.device() != input.device() {
            let (here, there) = (input.device(), tensor.device());
            return invalid(format!("{name} is on {there:?}, and the input on {here:?}"));
        }
    }
    Ok(())
}

extern "C" fn sum(context: *mut c_void, numbers: *mut C_tensor, problem: *mut c_void) -> c_int {
    // SAFETY: `synced_batch_norm` made it, and the shim calls before it releases it. `Arc<Shared>` is Sync: any thread may borrow it.
    let shared = unsafe { &*context.cast::<Arc<Shared>>() };
    // Unwind safe: after a panic the step fails, and the group is dropped with all that it was used by.
    let summed = catch_unwind(AssertUnwindSafe(|| {
        // Not another wait: backward may be called by whoever holds the group.
        shared.try_run("backward", |state| {
            // SAFETY: `try_run` holds the lock and a live group; the shim lends the tensor, which is dense, through the call.
            check(unsafe { ffi::ls_all_reduce(state.group(), numbers, ffi::LS_SUM) }).map_err(Failure::Group)
        })
    }));
    let (code, text) = match summed {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) if error.is_group_lost() => (ffi::LS_DISTRIBUTED, error.to_string()),
        Ok(Err(error)) => (ffi::LS_TORCH, error.to_string()),
        Err(panic) => (ffi::LS_TORCH, format!("the sum panicked: {}", panic_message(panic.as_ref()))),
    };
    // SAFETY: `problem` is the sink of this call; the shim copies the text before it returns.
    unsafe { ffi::ls_sink_fill(problem, LsBytes { data: text.as_ptr(), size: text.len() }) };
    code
}

extern "C" fn release(context: *mut c_void) {
    // SAFETY: `context` is the box that `synced_batch_norm` gave away; the shim releases it once, and calls nothing with it after.
    let context = unsafe { Box::from_raw(context.cast::<Arc<Shared>>()) };
    // Nobody is left to be told if that panics.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(context)));
}
