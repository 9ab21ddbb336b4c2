//! The C interface of `shim/nccl/lockstep_nccl.h`, declaration by declaration, as it is found at run time.

use std::ffi::{CStr, c_char, c_int};
use std::mem::ManuallyDrop;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use super::CudaMissing;
use super::missing::{LIBRARY, reason};
use crate::LIBTORCH_VERSION;
use crate::ffi::{LsGroup, LsStore, Owned, Raised};
use crate::store::BridgedStore;

#[repr(C)]
pub(super) struct LsnVersions {
    pub(super) libtorch: [c_char; 16],
    pub(super) cuda: c_int,
    pub(super) nccl: c_int,
}

#[repr(C)]
pub(super) struct LsnDevice {
    pub(super) name: [c_char; 256],
    pub(super) major: c_int,
    pub(super) minor: c_int,
    pub(super) memory_bytes: u64,
}

#[repr(C)]
pub(super) struct LsnMemory {
    pub(super) allocated_bytes: u64,
    pub(super) reserved_bytes: u64,
    pub(super) peak_allocated_bytes: u64,
    pub(super) free_bytes: u64,
}

/// Declares the functions, and finds each by its name.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The library's functions. It is never closed.
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn find(library: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of the header's declarations of these names.
                Ok(unsafe { Self { $($name: *library.get(stringify!($name).as_bytes())?,)* } })
            }
        }
    };
}
functions! {
    lsn_last_error: fn() -> *const c_char;
    lsn_versions: fn(*mut LsnVersions) -> c_int;
    lsn_device_count: fn(*mut c_int) -> c_int;
    lsn_device: fn(c_int, *mut LsnDevice) -> c_int;
    lsn_bind: fn(c_int) -> c_int;
    lsn_memory: fn(c_int, *mut LsnMemory) -> c_int;
    lsn_rng_seed: fn(c_int, u64) -> c_int;
    lsn_deterministic: fn() -> c_int;
    lsn_group_new_nccl: fn(*const LsStore, c_int, c_int, c_int, i64, *mut *mut LsGroup) -> c_int;
}

impl Functions {
    /// Opens libtorch's CUDA half, then the library.
    pub(super) fn open() -> Result<Self, CudaMissing> {
        // Into the scope of all, because libtorch_cpu.so looks there for what it registers; and for good, because it keeps
        // addresses.
        // SAFETY: its initializers add to libtorch's tables, which are made for that.
        let cuda = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
        let _cuda =
            ManuallyDrop::new(cuda.map_err(|error| CudaMissing::Libtorch { reason: reason(&error) })?);
        // SAFETY: it has no initializers of its own.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) };
        let nccl = |error: libloading::Error| CudaMissing::Nccl { reason: reason(&error) };
        let library = ManuallyDrop::new(library.map_err(nccl)?);
        let functions = Self::find(&library).map_err(nccl)?;
        let versions = functions.versions().map_err(|raised| CudaMissing::Nccl { reason: raised.message })?;
        let found = text(&versions.libtorch);
        if found != LIBTORCH_VERSION {
            return Err(CudaMissing::OtherVersion { found });
        }
        Ok(functions)
    }

    pub(super) fn versions(&self) -> Result<LsnVersions, Raised> {
        let mut versions = LsnVersions { libtorch: [0; 16], cuda: 0, nccl: 0 };
        // SAFETY: it writes one such struct.
        self.check(unsafe { (self.lsn_versions)(&mut versions) })?;
        Ok(versions)
    }

    pub(super) fn num_devices(&self) -> Result<u32, Raised> {
        let mut count = 0;
        // SAFETY: it writes one int.
        self.check(unsafe { (self.lsn_device_count)(&mut count) })?;
        Ok(count.cast_unsigned())
    }

    pub(super) fn device(&self, index: u32) -> Result<LsnDevice, Raised> {
        let mut found = LsnDevice { name: [0; 256], major: 0, minor: 0, memory_bytes: 0 };
        // SAFETY: it writes one such struct.
        self.check(unsafe { (self.lsn_device)(index.cast_signed(), &mut found) })?;
        Ok(found)
    }

    pub(super) fn bind(&self, index: u32) -> Result<(), Raised> {
        // SAFETY: no pointers.
        self.check(unsafe { (self.lsn_bind)(index.cast_signed()) })
    }

    pub(super) fn memory(&self, index: u32) -> Result<LsnMemory, Raised> {
        let mut found =
            LsnMemory { allocated_bytes: 0, reserved_bytes: 0, peak_allocated_bytes: 0, free_bytes: 0 };
        // SAFETY: it writes one such struct.
        self.check(unsafe { (self.lsn_memory)(index.cast_signed(), &mut found) })?;
        Ok(found)
    }

    pub(super) fn seed(&self, index: u32, seed: u64) -> Result<(), Raised> {
        // SAFETY: no pointers.
        self.check(unsafe { (self.lsn_rng_seed)(index.cast_signed(), seed) })
    }

    pub(super) fn use_deterministic_kernels(&self) -> Result<(), Raised> {
        // SAFETY: no pointers.
        self.check(unsafe { (self.lsn_deterministic)() })
    }

    pub(super) fn new_group(
        &self,
        store: &BridgedStore,
        (rank, world_size): (c_int, c_int),
        index: u32,
        timeout_ms: i64,
    ) -> Result<Owned<LsGroup>, Raised> {
        let (make, index) = (self.lsn_group_new_nccl, index.cast_signed());
        Owned::make_by(
            |code| self.check(code),
            // SAFETY: the store is live; `make_by` passes where the new object goes.
            |out| unsafe { make(store.as_ptr(), rank, world_size, index, timeout_ms, out) },
        )
    }

    /// Turns the code of the library's call that this thread made last into a result.
    pub(super) fn check(&self, code: c_int) -> Result<(), Raised> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a NUL-terminated buffer of this thread, which is copied before this thread makes another call.
        let message = unsafe { CStr::from_ptr((self.lsn_last_error)()) };
        Err(Raised { code, message: message.to_string_lossy().into_owned() })
    }
}

/// The text in a field of fixed size.
pub(super) fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> =
        field.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
