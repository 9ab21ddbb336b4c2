//! The connections of a Gloo group, so that whoever is in a collective can be woken.
//!
//! Gloo offers no way to interrupt a collective. A connection that is shut down does: each of its operations fails, here and at the
//! peer, as if the other one had gone. Gloo may close a descriptor at any time, whose number then belongs to something else, so
//! each is remembered with the inode of its socket. Duplicates would keep a connection open that Gloo has closed.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::fstat;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{AddressFamily, Shutdown, getpeername, getsockname, shutdown, sockopt};

/// The descriptors of a group's connections.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Numbers and inodes.
    all: Vec<(RawFd, u64)>,
    is_alone: bool,
}

/// Held while a listener is made, so that the new one is known by there having been none like it.
static LISTENING: Mutex<()> = Mutex::new(());

impl Sockets {
    /// The connections of a group whose ranks listen on these ports, of which this one listens on `own`. Where several ranks are
    /// threads of this process, which only tests do, some of the others' are among them.
    pub(super) fn of_group(own: u16, all: &[u16]) -> Self {
        let is_of_group = |local: SocketAddr, peer: SocketAddr| {
            local.port() == own || all.iter().any(|port| *port == peer.port())
        };
        let found = descriptors().into_iter().filter_map(|fd| {
            let socket = duplicate(fd)?;
            let local = address(getsockname(&socket).ok()?)?;
            let peer = address(getpeername(&socket).ok()??)?;
            is_of_group(local, peer).then_some((fd, inode(&socket)?))
        });
        let num_here = listeners().filter(|port| all.contains(port)).count();
        Self { all: found.collect(), is_alone: num_here == 1 }
    }

    /// Whether this process has one rank of the group, so that no connection is another's.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Ends the connections under whoever uses them: operations on them fail, in all threads and at the peers. Doesn't wait.
    pub(super) fn shut(&self) {
        for (fd, expected) in &self.all {
            if let Some(socket) = duplicate(*fd).filter(|socket| inode(socket) == Some(*expected)) {
                // It fails where the peer was first.
                let _ = shutdown(&socket, Shutdown::Both);
            }
        }
    }
}

/// A descriptor of our own on what has this number, whatever happens to the number meanwhile.
fn duplicate(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is used for this one call, which fails on a number that nothing has.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl_dupfd_cloexec(fd, 0).ok()
}

fn inode(socket: &OwnedFd) -> Option<u64> {
    fstat(socket).ok().map(|found| found.st_ino)
}

/// Calls what makes one listener, and returns its port beside what was made; none where it didn't make one.
pub(super) fn listener_of<T, E>(make: impl FnOnce() -> Result<T, E>) -> Result<(T, Option<u16>), E> {
    let _alone = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    let before: Vec<_> = listeners().collect();
    let made = make()?;
    let port = listeners().find(|port| !before.contains(port));
    Ok((made, port))
}

/// The ports on which this process listens.
fn listeners() -> impl Iterator<Item = u16> {
    descriptors().into_iter().filter_map(duplicate).filter_map(|socket| {
        let listens = sockopt::socket_acceptconn(&socket).is_ok_and(|listens| listens);
        listens.then(|| getsockname(&socket).ok()).flatten().and_then(address).map(|address| address.port())
    })
}

/// Open descriptors of this process. Without /proc there are none, and a collective then ends by its deadline.
fn descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn address(found: rustix::net::SocketAddrAny) -> Option<SocketAddr> {
    match found.address_family() {
        AddressFamily::INET | AddressFamily::INET6 => SocketAddr::try_from(found).ok(),
        _ => None,
    }
}
