//! Tensors on their way to a device.

use std::ffi::c_int;

use tch::{Device, Tensor};

use crate::ffi::{self, check, raw};
use crate::{Error, Result};

/// A copy of a tensor on a device; the tensor itself where it is there. A GPU gets it through pinned memory: nobody waits for it, what
/// is launched there later finds it, and the tensor may change as soon as this returns.
///
/// # Errors
/// [`Error::Torch`], as where memory is full.
pub fn to_device(tensor: &Tensor, device: Device) -> Result<Tensor> {
    const NAME: &str = "to_device";
    let Device::Cuda(index) = device else {
        return tensor.f_to_device(device).map_err(|error| Error::torch(NAME, error));
    };
    if tensor.device() != Device::Cpu {
        return tensor.f_to_device(device).map_err(|error| Error::torch(NAME, error));
    }
    let mut copy = std::ptr::null_mut();
    // SAFETY: a live tensor; the place is written on success. No machine has so many GPUs that the number is cut.
    check(unsafe { ffi::ls_to_gpu(raw(tensor), index as c_int, &mut copy) })
        .map_err(|raised| raised.torch(NAME))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_it_is_refused_and_the_cpu_keeps_what_it_has() {
        let tensor = Tensor::from_slice(&[1.0f32, 2.0]);
        assert_eq!(to_device(&tensor, Device::Cpu).unwrap().data_ptr(), tensor.data_ptr());
        let error = to_device(&tensor, Device::Cuda(0)).unwrap_err();
        assert!(matches!(error, Error::Torch { operation: "to_device", .. }), "{error}");
    }
}
