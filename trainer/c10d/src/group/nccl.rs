//! The process group for GPUs.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::{C10dGroup, passes_on, ranks};
use crate::store::BridgedStore;
use crate::{Cuda, Error, Result, Store};

/// How a [`NcclGroup`] is formed and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NcclOptions {
    /// All ranks must have come, and be connected, within this time. Default: 60 s; NCCL looks at the machine's topology.
    pub form_timeout: Duration,
    /// A collective fails when it is not complete after this time. Default: 20 s.
    pub collective_timeout: Duration,
}

impl Default for NcclOptions {
    fn default() -> Self {
        Self { form_timeout: Duration::from_secs(60), collective_timeout: Duration::from_secs(20) }
    }
}

/// Ranks on GPUs, one on each, connected by NCCL. Its tensors are on the GPU that it was formed with.
///
/// NCCL takes the network interfaces that `NCCL_SOCKET_IFNAME` names, or looks for one.
#[derive(Debug)]
pub struct NcclGroup {
    group: C10dGroup,
}

impl NcclGroup {
    /// Meets the other ranks through `store` and connects to them.
    ///
    /// The store must hold nothing of an earlier group, as with [`GlooGroup::form`](crate::GlooGroup::form).
    ///
    /// # Collective
    ///
    /// All ranks of the new group call it, each with its own rank and a GPU of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the store failed, as it does when a rank did not come within `form_timeout`;
    /// [`Error::PeerLost`] when NCCL could not connect, in its words, or did not within that time; [`Error::Invalid`] on a bad
    /// argument.
    ///
    /// # Blocking
    ///
    /// For `form_timeout` at most. NCCL can't be interrupted while it connects: where it takes longer, a thread of this process
    /// goes on with that, and whoever ends the process must not wait for it.
    pub fn form(
        store: Arc<dyn Store>,
        rank: usize,
        world_size: usize,
        cuda: &Cuda,
        options: &NcclOptions,
    ) -> Result<Self> {
        const FORM: &str = "NcclGroup::form";
        let ranks = ranks(rank, world_size).map_err(|problem| Error::invalid(FORM, problem))?;
        let NcclOptions { form_timeout, collective_timeout } = *options;
        let (deadline, cuda) = (Instant::now() + form_timeout, cuda.clone());
        let lost = move |message| Error::PeerLost { operation: FORM, rank, world_size, message };
        let connect = move || -> Result<C10dGroup> {
            let store = BridgedStore::new(store, deadline).map_err(|raised| raised.torch(FORM))?;
            let group = cuda.new_group(&store, ranks, collective_timeout);
            let group = group.map_err(|raised| match store.take_failure() {
                Some(source) => Error::Store { rank, world_size, source },
                None => lost(raised.message),
            })?;
            Ok(C10dGroup::new(rank, world_size, cuda.device(), group))
        };
        // A rank that is lost while NCCL connects leaves the others waiting without end. Its non-blocking communicators have a
        // timeout, but PyTorch turned them off for hangs of their own (pytorch/pytorch#153960).
        Ok(Self { group: within(form_timeout, connect).map_err(lost)?? })
    }
}

/// What `work` comes to on a thread of its own. Where that takes longer than `limit`, it is left to itself, and what it comes to is
/// dropped.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (give, take) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("nccl".to_owned());
    let started = thread.spawn(move || drop(give.send(work())));
    started.map_err(|error| format!("a thread to connect on can't be started: {error}"))?;
    take.recv_timeout(limit).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => format!("NCCL did not connect all ranks within {limit:?}"),
        mpsc::RecvTimeoutError::Disconnected => "the thread that connects panicked".to_owned(),
    })
}

passes_on!(NcclGroup);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_has_a_deadline_and_what_comes_late_is_dropped() {
        let limit = Duration::from_millis(100);
        assert_eq!(within(Duration::from_secs(60), || 7), Ok(7));
        let (late, lasts) = mpsc::channel::<()>();
        let (ends, dropped) = mpsc::channel::<()>();
        let since = Instant::now();
        // As NCCL does, it comes back only once the others are there.
        let stuck = within(limit, move || {
            let _ = lasts.recv();
            ends
        });
        assert_eq!(stuck.unwrap_err(), "NCCL did not connect all ranks within 100ms");
        assert!(since.elapsed() < Duration::from_secs(30));
        drop(late);
        assert_eq!(dropped.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
        let panicked = within::<()>(Duration::from_secs(60), || panic!("meant")).unwrap_err();
        assert!(panicked.contains("panicked"), "{panicked}");
    }
}
