//! The process group for GPUs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{C10dGroup, passes_on, ranks};
use crate::store::BridgedStore;
use crate::{Cuda, Error, Result, Store};

/// How a [`NcclGroup`] is formed and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NcclOptions {
    /// All ranks must have come within this time. Default: 60 s; NCCL looks at the machine's topology.
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
    /// [`Error::PeerLost`] when NCCL could not connect, in its words; [`Error::Invalid`] on a bad argument.
    pub fn form(
        store: Arc<dyn Store>,
        rank: usize,
        world_size: usize,
        cuda: &Cuda,
        options: &NcclOptions,
    ) -> Result<Self> {
        const FORM: &str = "NcclGroup::form";
        let ranks = ranks(rank, world_size).map_err(|problem| Error::invalid(FORM, problem))?;
        let deadline = Instant::now() + options.form_timeout;
        let store = BridgedStore::new(store, deadline).map_err(|raised| raised.torch(FORM))?;
        let timeout = options.collective_timeout;
        let group = cuda.new_group(&store, ranks, timeout);
        let group = group.map_err(|raised| match store.take_failure() {
            Some(source) => Error::Store { rank, world_size, source },
            None => Error::PeerLost { operation: FORM, rank, world_size, message: raised.message },
        })?;
        Ok(Self { group: C10dGroup::new(rank, world_size, cuda.device(), group) })
    }
}

passes_on!(NcclGroup);
