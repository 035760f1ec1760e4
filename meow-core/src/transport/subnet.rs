//! In which network a server is found, for whoever draws chains of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What is likely to be of one provider: the first 16 bits of an IPv4 address, 32 of an IPv6 address. Wider than what
/// [`Network`](super::Network) tells apart: there a narrow one keeps what somebody takes from others, here a wide one makes many
/// servers count as one. Two strangers' servers of one are never in one chain (spec, chapter "Matriochka").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subnet {
    /// Of IPv4.
    V4([u8; 2]),
    /// Of IPv6.
    V6([u8; 4]),
}

impl Subnet {
    /// The one that an address is of. An IPv4 address in IPv6 form counts as what it is.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                Self::V4([a, b])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.octets();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// As networks are written: `192.0.0.0/16`, `2001:db8::/32`.
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b]) => write!(f, "{}/16", Ipv4Addr::new(a, b, 0, 0)),
            Self::V6([a, b, c, d]) => {
                let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                write!(f, "{}/32", Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cut_to_their_subnets() {
        for (address, subnet) in [
            ("192.0.2.77", "192.0.0.0/16"),
            ("::ffff:192.0.9.1", "192.0.0.0/16"),
            ("2001:db8:1:2:3::4", "2001:db8::/32"),
            ("2001:db9::1", "2001:db9::/32"),
        ] {
            assert_eq!(Subnet::of(address.parse().unwrap()).to_string(), subnet);
        }
    }
}
