//! The process group for CPUs.

use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::sockets::{self, Sockets};
use super::{C10dGroup, milliseconds, passes_on, ranks};
use crate::ffi::{self, Owned, Raised};
use crate::store::BridgedStore;
use crate::{Error, Result, Store};

/// Where a rank listens for its peers. Gloo left to itself asks DNS for this machine's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A host name or an address of this machine that the peers can reach.
    Host(String),
    /// A network interface, such as `eth0`.
    Interface(String),
}

/// How a [`GlooGroup`] is formed and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlooOptions {
    /// Where this rank listens. Default: loopback.
    pub listen: Listen,
    /// All ranks must have come within this time. Default: 10 s.
    pub form_timeout: Duration,
    /// A collective fails when a peer is silent for this long. Default: 20 s.
    pub collective_timeout: Duration,
    /// Threads that run collectives, so that the reducer's buckets overlap. Default: 2, as in PyTorch.
    pub threads: usize,
}

impl Default for GlooOptions {
    fn default() -> Self {
        Self {
            listen: Listen::Host("127.0.0.1".to_owned()),
            form_timeout: Duration::from_secs(10),
            collective_timeout: Duration::from_secs(20),
            threads: 2,
        }
    }
}

/// Ranks on CPUs, connected by TCP. Its tensors are on the CPU.
#[derive(Debug)]
pub struct GlooGroup {
    group: C10dGroup,
}

impl GlooGroup {
    /// Meets the other ranks through `store` and connects to each of them.
    ///
    /// The store must hold nothing of an earlier group: give each its own [`PrefixStore`](crate::PrefixStore). It is used
    /// only until this returns.
    ///
    /// # Collective
    ///
    /// All ranks of the new group call it, each with its own rank.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the store failed, as it does when a rank did not come within `form_timeout`;
    /// [`Error::PeerLost`] when a rank could not be reached; [`Error::Invalid`] on a bad argument, such as a host that is
    /// not this machine's.
    pub fn form(
        store: Arc<dyn Store>,
        rank: usize,
        world_size: usize,
        options: &GlooOptions,
    ) -> Result<Self> {
        let invalid = |problem: String| Error::invalid("GlooGroup::form", problem);
        let (c_rank, c_world_size) = ranks(rank, world_size).map_err(invalid)?;
        let threads = c_int::try_from(options.threads).unwrap_or(0);
        if threads < 1 {
            return Err(invalid(format!("{} threads: at least 1 is needed", options.threads)));
        }
        let (name, is_host) = match &options.listen {
            Listen::Host(host) => (host, true),
            Listen::Interface(interface) => (interface, false),
        };
        let name = CString::new(name.as_str()).map_err(|_| invalid(format!("{name:?} holds a NUL byte")))?;
        let (host, interface) =
            if is_host { (name.as_ptr(), ptr::null()) } else { (ptr::null(), name.as_ptr()) };

        let deadline = Instant::now() + options.form_timeout;
        let store = BridgedStore::new(store, deadline).map_err(|raised| raised.torch("GlooGroup::form"))?;
        let failed = |raised| form_error(&store, rank, world_size, &options.listen, raised);
        // SAFETY: `name` lives through the call, and the pointers into it are NUL-terminated or null, never both null.
        let listen = || Owned::make(|out| unsafe { ffi::ls_device_new(host, interface, out) });
        let (device, port) = sockets::listener_of(listen).map_err(failed)?;
        // SAFETY: the store and the device are live.
        let group = Owned::make(|out| unsafe {
            ffi::ls_group_new_gloo(
                store.as_ptr(),
                c_rank,
                c_world_size,
                device.as_ptr(),
                threads,
                milliseconds(options.form_timeout),
                milliseconds(options.collective_timeout),
                out,
            )
        });
        let group = C10dGroup::new(rank, world_size, Device::Cpu, group.map_err(failed)?);
        if world_size > 1 {
            let ports = ports(&group, port.unwrap_or(0))?;
            group.shared().hold(Sockets::of_group(port.unwrap_or(0), &ports));
        }
        Ok(Self { group })
    }
}

/// On which ports the ranks listen.
fn ports(group: &C10dGroup, own: u16) -> Result<Vec<u16>> {
    let failed = |error| Error::torch("GlooGroup::form", error);
    let own = Tensor::f_from_slice(&[i64::from(own)]).map_err(failed)?;
    let all = Vec::<i64>::try_from(group.all_gather(&own)?.f_view([-1]).map_err(failed)?).map_err(failed)?;
    // 0 is where a rank could not tell.
    Ok(all.into_iter().filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect())
}

/// What libtorch names in an error that came once it listened: a rank went away while the others connected to it.
const CONNECTING: &str = "connectFullMesh";

/// A failure of the store is told in the store's words, and a place to listen that is refused as a bad argument; what
/// remains is the network's.
fn form_error(
    store: &BridgedStore,
    rank: usize,
    world_size: usize,
    listen: &Listen,
    raised: Raised,
) -> Error {
    match store.take_failure() {
        Some(source) => Error::Store { rank, world_size, source },
        None if raised.code == ffi::LS_TORCH && !raised.message.contains(CONNECTING) => {
            Error::invalid("GlooGroup::form", format!("cannot listen on {listen:?}: {}", raised.message))
        }
        None => Error::PeerLost { operation: "GlooGroup::form", rank, world_size, message: raised.message },
    }
}

passes_on!(GlooGroup);
