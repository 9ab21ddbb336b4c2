//! A libtorch process group, whichever backend it runs on.

use std::ffi::c_int;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tch::{Device, Tensor};

use super::ReduceOp;
use super::sockets::Sockets;
use super::tensors::{require_dense, require_reducible};
use crate::ffi::{self, LsGroup, LsReducer, LsWork, Owned, Raised, check, raw, raw_list};
use crate::{Error, Result};

/// A libtorch process group. Backends make one each and pass their calls on to it; [`ProcessGroup`](super::ProcessGroup)
/// describes them.
pub struct C10dGroup {
    shared: Arc<Shared>,
}

/// What a group and the reducers that are built on it share.
pub(crate) struct Shared {
    rank: usize,
    world_size: usize,
    device: Device,
    /// Held for the whole of each operation: c10d numbers its collectives without a lock of its own.
    state: Mutex<State>,
    aborted: OnceLock<String>,
    /// Of a group on CPUs with several ranks; set once it is formed.
    sockets: OnceLock<Sockets>,
}

/// The C++ objects. A reducer keeps the group's connections open, so an abort has to reach both.
pub(crate) struct State {
    pub(crate) reducers: Vec<OwnedReducer>,
    group: Option<Owned<LsGroup>>,
}

/// A reducer and the thread that made it. Its hooks hold its bare address and run on the thread that calls backward, so it is
/// freed on its own thread only, which is then not in a backward of [`Reducer`](crate::Reducer). A tensor is `Send`, so tch
/// itself keeps nobody from calling `Tensor::backward` on a loss of the same parameters in another thread meanwhile; clippy's
/// list of disallowed methods does, in this workspace.
pub(crate) struct OwnedReducer {
    pub(crate) id: u64,
    pub(crate) thread: ThreadId,
    pub(crate) handle: Owned<LsReducer>,
}

// SAFETY: libtorch's groups are not tied to a thread, and every use of the pointers is behind the mutex around State.
// Reducers are used and freed by the thread that made them only: `Reducer` is not `Send`, removes its own from the list when
// it is dropped, and `close` leaves those of other threads there. See OwnedReducer for who may run their hooks.
unsafe impl Send for State {}

/// Which error a failed call is, and whether it leaves the group usable.
pub(crate) enum Failure {
    /// The group is lost.
    Group(Raised),
    /// The call was refused on this rank in the middle of a collective: the others would wait for it in vain.
    Refused(Raised),
}

impl State {
    pub(crate) fn group(&self) -> *mut LsGroup {
        self.group.as_ref().map_or(std::ptr::null_mut(), Owned::as_ptr)
    }

    /// Closes the connections, except those that reducers of other threads still hold until they look.
    fn close(&mut self) {
        let here = thread::current().id();
        self.reducers.retain(|reducer| reducer.thread != here);
        self.group = None;
    }
}

const IN_USE: &str = "the group is in use: give what communicates in backward a group of its own";

impl Shared {
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is being changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation on the C++ objects, alone. A failure aborts the group.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T> {
        self.run_in(self.lock(), operation, call)
    }

    /// The same, but refuses where another operation is running: it may be the one that this is called from.
    pub(crate) fn try_run<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T> {
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // Whoever aborts takes the lock, too.
                return Err(match self.aborted.get() {
                    Some(reason) => Error::Aborted { operation, reason: reason.clone() },
                    None => Error::invalid(operation, IN_USE),
                });
            }
        };
        self.run_in(state, operation, call)
    }

    fn run_in<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        operation: &'static str,
        call: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T> {
        if let Some(reason) = self.aborted.get() {
            self.close(&mut state);
            return Err(Error::Aborted { operation, reason: reason.clone() });
        }
        let result = call(&mut state).map_err(|failure| match failure {
            Failure::Group(Raised { message, .. }) => {
                Error::PeerLost { operation, rank: self.rank, world_size: self.world_size, message }
            }
            Failure::Refused(raised) => raised.torch(operation),
        });
        if let Err(error) = &result {
            // Whoever aborted first gave the reason.
            let _ = self.aborted.set(error.to_string());
        }
        if self.aborted.get().is_some() {
            self.close(&mut state);
        }
        result
    }

    /// Takes over the connections, to end them with an abort.
    pub(super) fn hold(&self, sockets: Sockets) {
        let _ = self.sockets.set(sockets);
    }

    /// Closes the connections. What was started and not waited for fails first, or Gloo would wait for it.
    fn close(&self, state: &mut State) {
        self.sockets.get().into_iter().filter(|sockets| sockets.is_alone()).for_each(Sockets::shut);
        state.close();
    }

    fn abort(&self, reason: &str) {
        let _ = self.aborted.set(reason.to_owned());
        match self.state.try_lock() {
            Ok(mut state) => self.close(&mut state),
            Err(TryLockError::Poisoned(poisoned)) => self.close(&mut poisoned.into_inner()),
            // An operation is running: without connections it fails now, and closes the group.
            Err(TryLockError::WouldBlock) => self.sockets.get().into_iter().for_each(Sockets::shut),
        }
    }
}

impl C10dGroup {
    pub(super) fn new(rank: usize, world_size: usize, device: Device, group: Owned<LsGroup>) -> Self {
        let state = Mutex::new(State { reducers: Vec::new(), group: Some(group) });
        let (aborted, sockets) = (OnceLock::new(), OnceLock::new());
        Self { shared: Arc::new(Shared { rank, world_size, device, state, aborted, sockets }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn rank(&self) -> usize {
        self.shared.rank
    }

    pub(super) fn world_size(&self) -> usize {
        self.shared.world_size
    }

    pub(super) fn abort(&self, reason: &str) {
        self.shared.abort(reason);
    }

    pub(super) fn aborted(&self) -> Option<String> {
        self.shared.aborted.get().cloned()
    }

    pub(super) fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Result<()> {
        require_dense("all_reduce", tensor, self.shared.device)?;
        require_reducible("all_reduce", tensor, op)?;
        let op = number(op);
        // SAFETY: `run` holds the lock and a live group; the tensor is borrowed through the call.
        self.collective("all_reduce", |group| unsafe { ffi::ls_all_reduce(group, raw(tensor), op) })
    }

    pub(super) fn start_all_reduce(&self, tensor: Tensor, op: ReduceOp) -> Result<Pending> {
        require_dense("all_reduce", &tensor, self.shared.device)?;
        require_reducible("all_reduce", &tensor, op)?;
        let op = number(op);
        let work = self.shared.run("all_reduce", |state| {
            // SAFETY: `run` holds the lock and a live group; the work holds the tensor's storage.
            let work =
                Owned::make(|out| unsafe { ffi::ls_all_reduce_start(state.group(), raw(&tensor), op, out) });
            work.map_err(Failure::Group)
        })?;
        Ok(Pending { shared: Arc::clone(&self.shared), work, tensor })
    }

    pub(super) fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()> {
        require_dense("broadcast", tensor, self.shared.device)?;
        let root = self.root("broadcast", root)?;
        // SAFETY: `run` holds the lock and a live group; the tensor is borrowed through the call.
        self.collective("broadcast", |group| unsafe { ffi::ls_broadcast(group, raw(tensor), root) })
    }

    pub(super) fn broadcast_coalesced(&self, tensors: &[Tensor], root: usize) -> Result<()> {
        for tensor in tensors {
            require_dense("broadcast_coalesced", tensor, self.shared.device)?;
        }
        let root = self.root("broadcast_coalesced", root)?;
        let list = raw_list(tensors);
        if list.is_empty() {
            // libtorch asserts that there is something to send.
            return self.collective("broadcast_coalesced", |_| 0);
        }
        // SAFETY: `run` holds the lock and a live group; the list and its tensors are borrowed through the call.
        self.collective("broadcast_coalesced", |group| unsafe {
            ffi::ls_broadcast_coalesced(group, list.as_ptr(), list.len(), root)
        })
    }

    pub(super) fn all_gather(&self, tensor: &Tensor) -> Result<Tensor> {
        require_dense("all_gather", tensor, self.shared.device)?;
        let failed = |error| Error::torch("all_gather", error);
        let kind = tensor.f_kind().map_err(failed)?;
        let mut size = tensor.size();
        size.insert(0, self.shared.world_size as i64);
        let output = Tensor::f_zeros(&size, (kind, self.shared.device)).map_err(failed)?;
        // SAFETY: `run` holds the lock and a live group; both tensors are borrowed through the call.
        self.collective("all_gather", |group| unsafe {
            ffi::ls_all_gather(group, raw(&output), raw(tensor))
        })?;
        Ok(output)
    }

    pub(super) fn barrier(&self, deadline: Duration) -> Result<()> {
        let timeout_ms = milliseconds(deadline);
        // SAFETY: `run` holds the lock and a live group.
        self.collective("barrier", |group| unsafe { ffi::ls_barrier(group, timeout_ms) })
    }

    fn collective(&self, operation: &'static str, call: impl FnOnce(*mut LsGroup) -> c_int) -> Result<()> {
        self.shared.run(operation, |state| check(call(state.group())).map_err(Failure::Group))
    }

    fn root(&self, operation: &'static str, root: usize) -> Result<i32> {
        if root < self.shared.world_size {
            return Ok(root as i32);
        }
        let problem = format!("there is no rank {root} in a group of {}", self.shared.world_size);
        Err(Error::invalid(operation, problem))
    }
}

/// A collective that has been started. Who drops it doesn't wait for it.
pub struct Pending {
    shared: Arc<Shared>,
    work: Owned<LsWork>,
    tensor: Tensor,
}

// SAFETY: a c10d::Work is made to be waited for on any thread, and has one owner here.
unsafe impl Send for Pending {}

impl Pending {
    /// The result, once it is there.
    ///
    /// # Errors
    /// As of the collective itself.
    pub fn wait(self) -> Result<Tensor> {
        self.shared.run("all_reduce", |_| {
            // SAFETY: the work is live, and nobody else waits for it.
            check(unsafe { ffi::ls_work_wait(self.work.as_ptr()) }).map_err(Failure::Group)
        })?;
        Ok(self.tensor)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("rank", &self.shared.rank).finish_non_exhaustive()
    }
}

fn number(op: ReduceOp) -> c_int {
    match op {
        ReduceOp::Sum => ffi::LS_SUM,
        ReduceOp::Avg => 1,
        ReduceOp::Min => 2,
        ReduceOp::Max => 3,
    }
}

impl fmt::Debug for C10dGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("C10dGroup")
            .field("rank", &self.shared.rank)
            .field("world_size", &self.shared.world_size)
            .field("device", &self.shared.device)
            .field("aborted", &self.shared.aborted.get())
            .finish_non_exhaustive()
    }
}

/// In whole milliseconds, which is what libtorch counts in; at least one, because 0 means for ever there.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 1_000_000).clamp(1, i64::MAX / 1_000_000)
}
