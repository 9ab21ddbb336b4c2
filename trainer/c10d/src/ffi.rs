//! The C interface of `shim/shim.h`, declaration by declaration, and the few helpers that every caller needs.

use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::Error;

/// An opaque C++ object. It is neither Send nor Sync by itself: each owner says why its use is.
macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub(crate) struct $name { _opaque: [u8; 0], _not_send: std::marker::PhantomData<*mut u8> }
    )*};
}
opaque!(LsStore LsDevice LsGroup LsReducer LsWork LsReads LsAutocast);

/// libtorch refused: a wrong shape, a wrong dtype, no memory. What the other codes tell apart needs no telling here.
pub(crate) const LS_TORCH: c_int = 1;
/// c10d's own network, timeout and backend errors.
pub(crate) const LS_DISTRIBUTED: c_int = 3;
pub(crate) const LS_FOREIGN: c_int = 4;

/// The reduction that adds up.
pub(crate) const LS_SUM: c_int = 0;

#[repr(C)]
pub(crate) struct LsKey {
    pub(crate) data: *const c_char,
    pub(crate) size: usize,
}

#[repr(C)]
pub(crate) struct LsBytes {
    pub(crate) data: *const u8,
    pub(crate) size: usize,
}

#[repr(C)]
pub(crate) struct LsStoreTable {
    pub(crate) set: extern "C" fn(*mut c_void, LsKey, LsBytes) -> c_int,
    pub(crate) get: extern "C" fn(*mut c_void, LsKey, i64, *mut c_void) -> c_int,
    pub(crate) add: extern "C" fn(*mut c_void, LsKey, i64, *mut i64) -> c_int,
    pub(crate) compare_set: extern "C" fn(*mut c_void, LsKey, LsBytes, LsBytes, *mut c_void) -> c_int,
    pub(crate) remove: extern "C" fn(*mut c_void, LsKey, *mut c_int) -> c_int,
    pub(crate) check: extern "C" fn(*mut c_void, LsKey, *mut c_int) -> c_int,
    pub(crate) wait: extern "C" fn(*mut c_void, LsKey, i64) -> c_int,
    pub(crate) release: extern "C" fn(*mut c_void),
}

#[repr(C)]
pub(crate) struct LsBlockTable {
    pub(crate) forward: extern "C" fn(*mut c_void, *mut C_tensor, *mut *mut C_tensor, *mut c_void) -> c_int,
    pub(crate) release: extern "C" fn(*mut c_void),
}

#[repr(C)]
pub(crate) struct LsPeersTable {
    pub(crate) sum: extern "C" fn(*mut c_void, *mut C_tensor, *mut c_void) -> c_int,
    pub(crate) release: extern "C" fn(*mut c_void),
}

#[repr(C)]
pub(crate) struct LsBuckets {
    pub(crate) lengths: *const usize,
    pub(crate) count: usize,
    pub(crate) indices: *const usize,
    pub(crate) first_cap_bytes: i64,
    pub(crate) cap_bytes: i64,
}

#[repr(C)]
pub(crate) struct LsAdamW {
    pub(crate) lr: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) eps: f64,
    pub(crate) weight_decay: f64,
}

#[repr(C)]
pub(crate) struct LsSgd {
    pub(crate) lr: f64,
    pub(crate) momentum: f64,
    pub(crate) weight_decay: f64,
    pub(crate) nesterov: c_int,
}

type Tensors = *const *mut C_tensor;

unsafe extern "C" {
    fn ls_last_error() -> *const c_char;

    pub(crate) fn ls_sink_fill(sink: *mut c_void, value: LsBytes) -> c_int;
    pub(crate) fn ls_store_new(
        table: *const LsStoreTable,
        context: *mut c_void,
        out: *mut *mut LsStore,
    ) -> c_int;
    pub(crate) fn ls_store_free(store: *mut LsStore);

    pub(crate) fn ls_device_new(
        host: *const c_char,
        interface: *const c_char,
        out: *mut *mut LsDevice,
    ) -> c_int;
    pub(crate) fn ls_device_free(device: *mut LsDevice);
    pub(crate) fn ls_group_new_gloo(
        store: *const LsStore,
        rank: c_int,
        world_size: c_int,
        device: *const LsDevice,
        threads: c_int,
        form_timeout_ms: i64,
        collective_timeout_ms: i64,
        out: *mut *mut LsGroup,
    ) -> c_int;
    pub(crate) fn ls_group_free(group: *mut LsGroup);
    pub(crate) fn ls_all_reduce(group: *mut LsGroup, tensor: *mut C_tensor, op: c_int) -> c_int;
    pub(crate) fn ls_all_reduce_start(
        group: *mut LsGroup,
        tensor: *mut C_tensor,
        op: c_int,
        out: *mut *mut LsWork,
    ) -> c_int;
    pub(crate) fn ls_work_wait(work: *mut LsWork) -> c_int;
    pub(crate) fn ls_work_free(work: *mut LsWork);
    pub(crate) fn ls_broadcast(group: *mut LsGroup, tensor: *mut C_tensor, root: c_int) -> c_int;
    pub(crate) fn ls_broadcast_coalesced(
        group: *mut LsGroup,
        tensors: Tensors,
        count: usize,
        root: c_int,
    ) -> c_int;
    pub(crate) fn ls_all_gather(group: *mut LsGroup, output: *mut C_tensor, input: *mut C_tensor) -> c_int;
    pub(crate) fn ls_barrier(group: *mut LsGroup, timeout_ms: i64) -> c_int;

    pub(crate) fn ls_reducer_verify(group: *mut LsGroup, params: Tensors, count: usize) -> c_int;
    pub(crate) fn ls_reducer_new(
        group: *mut LsGroup,
        params: Tensors,
        names: *const *const c_char,
        count: usize,
        buckets: LsBuckets,
        exchange: c_int,
        out: *mut *mut LsReducer,
    ) -> c_int;
    pub(crate) fn ls_reducer_free(reducer: *mut LsReducer);
    pub(crate) fn ls_reducer_backward(
        reducer: *mut LsReducer,
        loss: *mut C_tensor,
        exposed_ns: *mut i64,
    ) -> c_int;
    pub(crate) fn ls_backward(loss: *mut C_tensor) -> c_int;
    #[cfg(test)]
    pub(crate) fn ls_bucket_assignment(
        params: Tensors,
        count: usize,
        order: *const i64,
        first_cap_bytes: usize,
        cap_bytes: usize,
        bucket_of: *mut usize,
    ) -> c_int;

    pub(crate) fn ls_adamw_step(
        params: Tensors,
        exp_avgs: Tensors,
        exp_avg_sqs: Tensors,
        count: usize,
        num_decaying: usize,
        step: *mut C_tensor,
        skip: *mut C_tensor,
        options: LsAdamW,
    ) -> c_int;
    pub(crate) fn ls_sgd_step(
        params: Tensors,
        momentum_buffers: Tensors,
        count: usize,
        num_decaying: usize,
        skip: *mut C_tensor,
        options: LsSgd,
    ) -> c_int;
    pub(crate) fn ls_clip_grad_norm(
        params: Tensors,
        count: usize,
        max_norm: f64,
        norm: *mut *mut C_tensor,
        non_finite: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn ls_zero_grad(params: Tensors, count: usize) -> c_int;

    pub(crate) fn ls_lift_gradients(rounded: Tensors, masters: Tensors, count: usize) -> c_int;
    pub(crate) fn ls_round_masters(rounded: Tensors, masters: Tensors, count: usize) -> c_int;
    pub(crate) fn ls_scale_gradients(params: Tensors, count: usize, factor: *mut C_tensor) -> c_int;

    pub(crate) fn ls_average_step(
        averages: Tensors,
        params: Tensors,
        count: usize,
        skip: *mut C_tensor,
        weight: f64,
    ) -> c_int;

    pub(crate) fn ls_linear_cross_entropy(
        hidden: *mut C_tensor,
        head: *mut C_tensor,
        targets: *mut C_tensor,
        vocab: i64,
        rows: i64,
        loss: *mut *mut C_tensor,
    ) -> c_int;

    pub(crate) fn ls_autocast_new(like: *mut C_tensor, out: *mut *mut LsAutocast) -> c_int;
    pub(crate) fn ls_autocast_free(autocast: *mut LsAutocast);

    pub(crate) fn ls_recompute(
        table: *const LsBlockTable,
        context: *mut c_void,
        input: *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;

    pub(crate) fn ls_batch_norm_stats(input: *mut C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn ls_batch_norm(
        table: *const LsPeersTable,
        context: *mut c_void,
        input: *mut C_tensor,
        weight: *mut C_tensor,
        bias: *mut C_tensor,
        of_ranks: *mut C_tensor,
        mean: *mut C_tensor,
        variance: *mut C_tensor,
        eps: f64,
        out: *mut *mut C_tensor,
    ) -> c_int;

    pub(crate) fn ls_reads_new(out: *mut *mut LsReads) -> c_int;
    pub(crate) fn ls_reads_count(reads: *const LsReads, count: *mut u64) -> c_int;
    pub(crate) fn ls_reads_free(reads: *mut LsReads);

    pub(crate) fn ls_to_gpu(tensor: *mut C_tensor, device_index: c_int, out: *mut *mut C_tensor) -> c_int;

    pub(crate) fn ls_rng_seed(seed: u64) -> c_int;
    pub(crate) fn ls_rng_state(out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn ls_rng_set_state(state: *mut C_tensor) -> c_int;
    pub(crate) fn ls_rng_state_of(seed: u64, out: *mut *mut C_tensor) -> c_int;
}

/// A failure that the shim reported: its code and message.
#[derive(Debug)]
pub(crate) struct Raised {
    pub(crate) code: c_int,
    pub(crate) message: String,
}

impl Raised {
    /// As a refusal of libtorch, for operations that talk to nobody.
    pub(crate) fn torch(self, operation: &'static str) -> Error {
        Error::Torch { operation, message: self.message }
    }
}

/// Turns the code of the shim call that this thread made last into a result.
pub(crate) fn check(code: c_int) -> Result<(), Raised> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: ls_last_error returns a NUL-terminated buffer of this thread that lives as long as the thread; it is
    // copied before this thread makes another call.
    let message = unsafe { CStr::from_ptr(ls_last_error()) };
    Err(Raised { code, message: message.to_string_lossy().into_owned() })
}

/// The pointer that the shim borrows a tensor by. C++ takes it as mutable because a tensor is a counted reference: what
/// is written is its storage, which tch shares freely between handles.
pub(crate) fn raw(tensor: &Tensor) -> *mut C_tensor {
    tensor.as_ptr().cast_mut()
}

/// The pointers of a list of tensors; valid while the tensors are.
pub(crate) fn raw_list(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(raw).collect()
}

/// The null pointer for None.
pub(crate) fn raw_option(tensor: Option<&Tensor>) -> *mut C_tensor {
    tensor.map_or(std::ptr::null_mut(), raw)
}

/// What a panic in a callback said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Owns an object that the shim made, and frees it with `FREE`'s function.
pub(crate) struct Owned<T: Free>(NonNull<T>);

/// An object with a function of the shim that frees it.
pub(crate) trait Free {
    /// # Safety
    /// `pointer` came from the shim and has not been freed.
    unsafe fn free(pointer: *mut Self);
}

impl<T: Free> Owned<T> {
    /// Calls `make`, which on success has stored a new object where it was told to.
    pub(crate) fn make(make: impl FnOnce(*mut *mut T) -> c_int) -> Result<Self, Raised> {
        Self::make_by(check, make)
    }

    /// The same of a library that has its own words for its codes, which `check` asks for.
    pub(crate) fn make_by(
        check: impl FnOnce(c_int) -> Result<(), Raised>,
        make: impl FnOnce(*mut *mut T) -> c_int,
    ) -> Result<Self, Raised> {
        let mut pointer = std::ptr::null_mut();
        check(make(&mut pointer))?;
        let missing = || Raised { code: LS_FOREIGN, message: "the shim made no object".to_owned() };
        NonNull::new(pointer).map(Owned).ok_or_else(missing)
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Free> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim in `make`, which made this its one owner, and this runs once.
        unsafe { T::free(self.0.as_ptr()) }
    }
}

macro_rules! freed_by {
    ($($name:ident: $free:ident,)*) => {$(
        impl Free for $name {
            unsafe fn free(pointer: *mut Self) {
                // SAFETY: the caller's promise is what the function asks for.
                unsafe { $free(pointer) }
            }
        }
    )*};
}
freed_by! {
    LsStore: ls_store_free,
    LsDevice: ls_device_free,
    LsGroup: ls_group_free,
    LsReducer: ls_reducer_free,
    LsWork: ls_work_free,
    LsReads: ls_reads_free,
    LsAutocast: ls_autocast_free,
}
