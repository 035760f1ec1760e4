//! Where requests come from, as far as a relay tells sources apart.

use std::net::IpAddr;

use meow_core::transport::{Network, Peer};

/// Whose requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// This machine.
    Here,
    /// An address, or what counts as one.
    Address(Network),
    /// All links of the listener of this number that know no address: those through a broker, or of a line.
    Listener(usize),
    /// A server that packets are sent on to, sending packets on itself; by its place in the catalog.
    Server(usize),
    /// The same from an address that the names of several of them lead to: none of these uses up another one's share.
    Servers(Network),
}

impl Source {
    /// The source of a link that came to the listener of this number.
    pub(crate) fn of(peer: &Peer, listener: usize) -> Self {
        peer.address.map_or(Self::Listener(listener), Self::from)
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            here if here.is_loopback() => Self::Here,
            _ => Self::Address(Network::of(address)),
        }
    }
}
