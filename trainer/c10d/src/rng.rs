//! libtorch's random numbers: dropout, initialization, `randn`.
//!
//! On the CPU there is one generator in a process. Ranks that are threads share it, so their draws have no fixed order.

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, check, raw};
use crate::{Cuda, Error, Result};

/// Starts the generator anew, and that of the GPU that this process is bound to.
pub fn seed(seed: u64) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { ffi::ls_rng_seed(seed) }).map_err(|raised| raised.torch("rng::seed"))?;
    Cuda::bound().map_or(Ok(()), |cuda| cuda.seed(seed)).map_err(|raised| raised.torch("rng::seed"))
}

/// The whole state of the CPU's generator, a tensor of bytes for the checkpoint.
pub fn state() -> Result<Tensor> {
    let mut state = std::ptr::null_mut();
    // SAFETY: the place is written on success.
    check(unsafe { ffi::ls_rng_state(&mut state) }).map_err(|raised| raised.torch("rng::state"))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// The state that [`seed`] would leave the generator in. The generator itself is not touched.
pub fn state_of(seed: u64) -> Result<Tensor> {
    let mut state = std::ptr::null_mut();
    // SAFETY: the place is written on success.
    check(unsafe { ffi::ls_rng_state_of(seed, &mut state) })
        .map_err(|raised| raised.torch("rng::state_of"))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// Goes on from a state that [`state`] returned.
///
/// # Errors
///
/// [`Error::Invalid`] or [`Error::Torch`] when it is not such a state; the generator is then as it was.
pub fn set_state(state: &Tensor) -> Result<()> {
    if !state.defined() || state.device() != Device::Cpu || state.is_sparse() || !state.is_contiguous() {
        return Err(Error::invalid("rng::set_state", "the state must be a contiguous tensor on the CPU"));
    }
    if state.f_kind().map_err(|error| Error::torch("rng::set_state", error))? != Kind::Uint8 {
        return Err(Error::invalid("rng::set_state", "the state must be a tensor of bytes"));
    }
    // SAFETY: the tensor lives through the call; libtorch checks its size before it reads it.
    check(unsafe { ffi::ls_rng_set_state(raw(state)) }).map_err(|raised| raised.torch("rng::set_state"))
}
