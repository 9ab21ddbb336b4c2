use crate::Failure;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// The address at which this machine reaches itself: where a container has no IPv4, that is `::1`.
///
/// # Errors
/// Where it has none of both.
pub(crate) fn loopback() -> anyhow::Result<IpAddr> {
    let known = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let found = known.into_iter().find(|address| TcpListener::bind((*address, 0)).is_ok());
    found.ok_or_else(|| {
        Failure::new("this machine has no loopback address, neither 127.0.0.1 nor ::1")
            .note("fix", "ip link set lo up")
            .into()
    })
}
