//! Activations that are computed again in backward, instead of being kept until then.
//!
//! Source: Chen and others, Training Deep Nets with Sublinear Memory Cost, 2016; as `torch.utils.checkpoint` does it with
//! `use_reentrant=True`.

use std::ffi::{c_int, c_void};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, LsBlockTable, LsBytes, check, panic_message, raw};
use crate::{Error, Result};

type Forward = Box<dyn Fn(&Tensor) -> Result<Tensor, String> + Send>;

/// What the callbacks work on. The lock makes it safe to call from whichever thread runs backward.
struct Context(Mutex<Forward>);

/// What `forward` makes of `input`, without keeping what lies between them: backward calls `forward` again, with the random
/// numbers and the autocast of the first time, and goes on through what it makes.
///
/// `forward` is called twice for each backward, and must do the same each time. It may use parameters that it owns handles
/// on; their gradients are added up as ever, and a [`Reducer`](crate::Reducer) sees them, if no parameter is used by two
/// such functions.
///
/// # Errors
///
/// [`Error::Invalid`] where `input` needs no gradient: backward would not come this far, and parameters would get none.
/// [`Error::Torch`] with what `forward` says, or that it panicked; backward fails in the same way.
pub fn recompute<E: Display>(
    input: &Tensor,
    forward: impl Fn(&Tensor) -> Result<Tensor, E> + Send + 'static,
) -> Result<Tensor> {
    if !input.requires_grad() {
        return Err(Error::invalid("recompute", "the input must be one that needs a gradient"));
    }
    let forward: Forward = Box::new(move |x| forward(x).map_err(|error| error.to_string()));
    let context = Box::into_raw(Box::new(Context(Mutex::new(forward)))).cast::<c_void>();
    let table = LsBlockTable { forward: call, release };
    let mut out = std::ptr::null_mut();
    // SAFETY: `table` lives through the call, which copies it, and `input` does. The shim takes `context` over in every case
    // and gives it back through `release`, once, after its last other callback. The place is written on success.
    check(unsafe { ffi::ls_recompute(&table, context, raw(input), &mut out) })
        .map_err(|raised| raised.torch("recompute"))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

extern "C" fn call(
    context: *mut c_void,
    input: *mut C_tensor,
    out: *mut *mut C_tensor,
    problem: *mut c_void,
) -> c_int {
    // SAFETY: `recompute` made it, and the shim calls before it releases it. `Context` is Sync: any thread may borrow it.
    let context = unsafe { &*context.cast::<Context>() };
    // SAFETY: the shim lends a live tensor, of which this is a handle of its own.
    let input = unsafe { Tensor::clone_from_ptr(input) };
    // Unwind safe: after a panic the step fails, and nothing of the closure's is used again but to be dropped.
    let made = catch_unwind(AssertUnwindSafe(|| {
        let forward = context.0.lock().unwrap_or_else(PoisonError::into_inner);
        forward(&input)
    }));
    let problem_is = match made {
        Ok(Ok(mut made)) => {
            // SAFETY: `out` is a place for a tensor that the shim then owns, and forgetting it here makes it so.
            unsafe { out.write(made.as_mut_ptr()) };
            std::mem::forget(made);
            return 0;
        }
        Ok(Err(problem)) => problem,
        Err(panic) => format!("what was to be recomputed panicked: {}", panic_message(panic.as_ref())),
    };
    let text = LsBytes { data: problem_is.as_ptr(), size: problem_is.len() };
    // SAFETY: `problem` is the sink of this call; the shim copies the text before it returns.
    unsafe { ffi::ls_sink_fill(problem, text) };
    1
}

extern "C" fn release(context: *mut c_void) {
    // SAFETY: `context` is the box that `recompute` gave away; the shim releases it once, and calls nothing with it after.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    // Nobody is left to be told if that panics.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(context)));
}
