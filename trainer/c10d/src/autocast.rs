//! Matrix products in a shorter kind of numbers, by PyTorch's own rules.

use std::fmt;
use std::marker::PhantomData;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, LsAutocast, Owned, raw};
use crate::{Error, Result};

/// While it lives, operations of this thread that gain by it compute in a shorter kind, and those that would lose too much stay as
/// they are: PyTorch's `torch.autocast`. Parameters keep their kind; each is cast once, until the guard is dropped.
///
/// libtorch keeps these casts for all threads of a process. Where several compute, such as ranks that are threads, one may drop what
/// another has cast, and a parameter that is used twice is then cast twice: its gradient differs in the last bits.
pub struct Autocast {
    _handle: Owned<LsAutocast>,
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Begins, for what is computed on `device`.
    ///
    /// # Errors
    /// [`Error::Torch`] where there is no such rule for the device or the kind.
    pub fn begin(device: Device, kind: Kind) -> Result<Self> {
        let failed = |error| Error::torch("Autocast::begin", error);
        let like = Tensor::f_empty([0], (kind, device)).map_err(failed)?;
        // SAFETY: the tensor lives through the call; the place is written on success.
        let handle = Owned::make(|out| unsafe { ffi::ls_autocast_new(raw(&like), out) });
        let handle = handle.map_err(|raised| raised.torch("Autocast::begin"))?;
        Ok(Self { _handle: handle, not_send: PhantomData })
    }
}

impl fmt::Debug for Autocast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autocast").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_shorter_while_it_lives_and_on_this_thread_only() {
        let (a, b) =
            (Tensor::ones([2, 2], (Kind::Float, Device::Cpu)), Tensor::eye(2, (Kind::Float, Device::Cpu)));
        let kind = || a.matmul(&b).kind();
        let outer = Autocast::begin(Device::Cpu, Kind::BFloat16).unwrap();
        {
            let _inner = Autocast::begin(Device::Cpu, Kind::BFloat16).unwrap();
            assert_eq!(kind(), Kind::BFloat16);
        }
        assert_eq!(kind(), Kind::BFloat16, "the outer one still lives");
        let (c, d) = (a.shallow_clone(), b.shallow_clone());
        assert_eq!(std::thread::spawn(move || c.matmul(&d).kind()).join().unwrap(), Kind::Float);
        drop(outer);
        assert_eq!(kind(), Kind::Float);
    }
}
