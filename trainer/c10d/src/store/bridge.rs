//! A Rust store as libtorch sees it: a `c10d::Store` whose methods call back into Rust through a table of functions.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Store, StoreError};
use crate::ffi::{self, LsBytes, LsKey, LsStore, LsStoreTable, Owned, panic_message};

/// A store in libtorch's hands, for the time in which a group is formed.
pub(crate) struct BridgedStore {
    handle: Owned<LsStore>,
    shared: Arc<Shared>,
}

/// What the callbacks work on. libtorch's store owns one count of it, given back in `release`.
struct Shared {
    store: Arc<dyn Store>,
    /// The waits of all calls together end here: libtorch's own timeouts are for each call.
    deadline: Instant,
    /// The first failure. libtorch carries only that there was one.
    failure: Mutex<Option<StoreError>>,
}

impl BridgedStore {
    pub(crate) fn new(store: Arc<dyn Store>, deadline: Instant) -> Result<Self, ffi::Raised> {
        let shared = Arc::new(Shared { store, deadline, failure: Mutex::new(None) });
        let context = Arc::into_raw(Arc::clone(&shared)).cast_mut().cast::<c_void>();
        let table = LsStoreTable { set, get, add, compare_set, remove, check, wait, release };
        // SAFETY: `table` lives through the call, which copies it. `context` is one count of `shared`; the shim takes it
        // over in every case and gives it back through `release`, once, after its last other callback.
        let handle = Owned::make(|out| unsafe { ffi::ls_store_new(&table, context, out) })?;
        Ok(Self { handle, shared })
    }

    pub(crate) fn as_ptr(&self) -> *mut LsStore {
        self.handle.as_ptr()
    }

    /// The first failure of a callback, if there was one.
    pub(crate) fn take_failure(&self) -> Option<StoreError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Shared {
    /// The wait that libtorch asks for, cut off at the deadline.
    fn timeout(&self, timeout_ms: i64) -> Duration {
        let asked = Duration::from_millis(timeout_ms.try_into().unwrap_or(0));
        asked.min(self.deadline.saturating_duration_since(Instant::now()))
    }
}

/// Runs one callback. A failure or a panic is kept for `take_failure` and reported to C++ as a code.
///
/// # Safety
///
/// `context` is a count of `Shared` that has not been released; `key` holds `size` readable bytes. Both stay so during
/// the call.
unsafe fn answer<T>(
    context: *mut c_void,
    key: LsKey,
    call: impl FnOnce(&Shared, &str) -> Result<T, StoreError>,
    deliver: impl FnOnce(T) -> c_int,
) -> c_int {
    // SAFETY: by this function's contract; `Shared` is Sync, so any of libtorch's threads may borrow it.
    let shared = unsafe { &*context.cast::<Shared>() };
    // SAFETY: by this function's contract.
    let key = String::from_utf8_lossy(unsafe { bytes(key.data.cast(), key.size) });
    // Unwind safe: after a panic nothing of the closure's is used again, and the store is the caller's to judge.
    let result = catch_unwind(AssertUnwindSafe(|| call(shared, &key))).unwrap_or_else(|panic| {
        Err(StoreError::Panicked { key: key.clone().into_owned(), message: panic_message(panic.as_ref()) })
    });
    match result {
        Ok(value) => deliver(value),
        Err(error) => {
            shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            1
        }
    }
}

/// # Safety
///
/// `data` points to `size` readable bytes that stay as they are for `'a`, or `size` is 0.
unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: by this function's contract; size 0, where C++ may pass null, was handled above.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// Hands a value to the C++ vector behind `sink`.
///
/// # Safety
///
/// `sink` is the one that C++ passed to the callback that is running.
unsafe fn fill(sink: *mut c_void, value: &[u8]) -> c_int {
    // SAFETY: by this function's contract; the shim copies `value` before it returns.
    unsafe { ffi::ls_sink_fill(sink, LsBytes { data: value.as_ptr(), size: value.len() }) }
}

// The callbacks. The shim keeps `answer`'s contract for all of them: it calls with the context that it was given, before
// releasing it, and with keys, values, sinks and result places that live through the call.

extern "C" fn set(context: *mut c_void, key: LsKey, value: LsBytes) -> c_int {
    // SAFETY: see above.
    unsafe {
        answer(context, key, |shared, key| shared.store.set(key, bytes(value.data, value.size)), |()| 0)
    }
}

extern "C" fn get(context: *mut c_void, key: LsKey, timeout_ms: i64, sink: *mut c_void) -> c_int {
    // SAFETY: see above.
    unsafe {
        answer(
            context,
            key,
            |shared, key| shared.store.get(key, shared.timeout(timeout_ms)),
            |value| fill(sink, &value),
        )
    }
}

extern "C" fn add(context: *mut c_void, key: LsKey, amount: i64, sum: *mut i64) -> c_int {
    let deliver = |value| {
        // SAFETY: see above; `sum` is a place for the result.
        unsafe { sum.write(value) };
        0
    };
    // SAFETY: see above.
    unsafe { answer(context, key, |shared, key| shared.store.add(key, amount), deliver) }
}

extern "C" fn compare_set(
    context: *mut c_void,
    key: LsKey,
    expected: LsBytes,
    desired: LsBytes,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        let call = |shared: &Shared, key: &str| {
            shared.store.compare_set(
                key,
                bytes(expected.data, expected.size),
                bytes(desired.data, desired.size),
            )
        };
        answer(context, key, call, |value| fill(sink, &value))
    }
}

extern "C" fn remove(context: *mut c_void, key: LsKey, removed: *mut c_int) -> c_int {
    let deliver = |value: bool| {
        // SAFETY: see above; `removed` is a place for the result.
        unsafe { removed.write(value.into()) };
        0
    };
    // SAFETY: see above.
    unsafe { answer(context, key, |shared, key| shared.store.delete(key), deliver) }
}

extern "C" fn check(context: *mut c_void, key: LsKey, present: *mut c_int) -> c_int {
    let deliver = |value: bool| {
        // SAFETY: see above; `present` is a place for the result.
        unsafe { present.write(value.into()) };
        0
    };
    // SAFETY: see above.
    unsafe { answer(context, key, |shared, key| shared.store.check(&[key]), deliver) }
}

extern "C" fn wait(context: *mut c_void, key: LsKey, timeout_ms: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        answer(context, key, |shared, key| shared.store.wait(&[key], shared.timeout(timeout_ms)), |()| 0)
    }
}

extern "C" fn release(context: *mut c_void) {
    // SAFETY: `context` is the count that `BridgedStore::new` gave away; the shim releases it once.
    let shared = unsafe { Arc::from_raw(context.cast::<Shared>().cast_const()) };
    // The last count drops the store. Nobody is left to be told if that panics.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(shared)));
}
