//! How often this thread reads a number back from a device: each time it waits for all that was queued there.

use std::marker::PhantomData;

use crate::Result;
use crate::ffi::{self, LsReads, Owned, Raised, check};

/// Counts the reads of the thread that made it, from then on, until it is dropped. One at a time on each thread.
///
/// What counts is what `item` and all its kin come down to, whoever calls it, on whatever device.
pub struct Reads {
    handle: Owned<LsReads>,
    not_send: PhantomData<*const ()>,
}

impl Reads {
    /// Begins at none.
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) where this thread counts already.
    pub fn count_from_here() -> Result<Self> {
        // SAFETY: `make` passes where the new object goes.
        let handle = Owned::make(|out| unsafe { ffi::ls_reads_new(out) }).map_err(torch)?;
        Ok(Self { handle, not_send: PhantomData })
    }

    /// How many there were so far.
    ///
    /// # Errors
    /// None that is known of.
    pub fn so_far(&self) -> Result<u64> {
        let mut count = 0;
        // SAFETY: the counter is live, and of this thread, because `Reads` isn't `Send`.
        check(unsafe { ffi::ls_reads_count(self.handle.as_ptr(), &mut count) }).map_err(torch)?;
        Ok(count)
    }
}

fn torch(raised: Raised) -> crate::Error {
    raised.torch("Reads")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn counts_what_this_thread_reads_and_nothing_else() {
        let reads = Reads::count_from_here().unwrap();
        let tensor = Tensor::from_slice(&[1.0f32, 2.0]);
        let sum = (&tensor * 2).sum(Kind::Float);
        assert_eq!(reads.so_far().unwrap(), 0);
        assert_eq!(sum.double_value(&[]), 6.0);
        let _ = tensor.nonzero();
        std::thread::spawn(|| Tensor::from(3.0f32).double_value(&[])).join().unwrap();
        assert_eq!(reads.so_far().unwrap(), 2);
        assert!(Reads::count_from_here().is_err());
        drop(reads);
        assert_eq!(Reads::count_from_here().unwrap().so_far().unwrap(), 0);
    }
}
