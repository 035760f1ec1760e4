//! Which network addresses may be dialled where somebody else named them (ATTACKS 44). A transport asks with the very
//! address that it is about to dial, after names are resolved: so no spelling of an address and no name that resolves
//! anew goes around it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Which addresses may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    any: bool,
    also: Vec<AddressBlock>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::any()
    }
}

impl Addresses {
    /// All: for URLs that the user or operator wrote.
    pub const fn any() -> Self {
        Self { any: true, also: Vec::new() }
    }

    /// Those of the public Internet: for URLs that a stranger wrote.
    pub const fn public() -> Self {
        Self { any: false, also: Vec::new() }
    }

    /// Those of this network too.
    #[must_use]
    pub fn and(mut self, network: AddressBlock) -> Self {
        self.also.push(network);
        self
    }

    /// Whether this address may be dialled. An IPv4 address in IPv6 form counts as what it is.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.any || is_public(address) || self.also.iter().any(|network| network.holds(address))
    }
}

/// A network: all addresses that share their first bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressBlock {
    address: IpAddr,
    bits: u8,
}

impl AddressBlock {
    /// Whether the address, in its canonical form, is of this network.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(own.to_bits().into(), other.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

fn same(a: u128, b: u128, width: u32, bits: u8) -> bool {
    // A shift by the whole width gives nothing: then all addresses are the same.
    (a ^ b).checked_shr(width.saturating_sub(bits.into())).unwrap_or_default() == 0
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a network: write an address and a prefix length, as in 10.0.0.0/8, with no bits set behind the prefix"
)]
pub struct AddressBlockError;

impl FromStr for AddressBlock {
    type Err = AddressBlockError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(bits.parse::<u8>().map_err(|_| AddressBlockError)?))
            }
            Some(_) => return Err(AddressBlockError),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| AddressBlockError)?;
        let (value, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let bits = bits.unwrap_or(width);
        if bits > width
            || value.checked_shl(bits.into()).unwrap_or_default() != 0
            || address != address.to_canonical()
        {
            return Err(AddressBlockError);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Debug for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// By the special-purpose registries of IANA (RFC 6890 and its successors); what is not known to be public is not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let special = match v4.octets() {
        [0 | 10 | 127, ..] | [240..=255, ..] => true, // this host, private, loopback, reserved and broadcast
        [100, b, ..] => (64..128).contains(&b),       // shared by carriers
        [169, 254, ..] | [192, 168, ..] => true,      // link-local, private
        [172, b, ..] => (16..32).contains(&b),        // private
        [192, 0, 0 | 2, _] | [192, 88, 99, _] => true, // protocols, documentation, old relays
        [198, 18 | 19, ..] => true,                   // benchmarks
        [198, 51, 100, _] | [203, 0, 113, _] => true, // documentation
        [a, ..] => (224..240).contains(&a),           // multicast
    };
    !special
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    match v6.segments() {
        // Teredo and other protocols, documentation, 6to4: each can hide an IPv4 address or leads nowhere.
        [0x2001, b, ..] => b > 0x01ff && b != 0x0db8,
        [0x2002, ..] => false,
        [0x3fff, b, ..] => b > 0x0fff,
        // Beside 2000::/3 nothing is global unicast: loopback, v4-compatible, NAT64, unique local, link-local, multicast.
        [a, ..] => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a44_only_public_addresses_are_public() {
        let public = Addresses::public();
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(public.permits(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public.permits(text.parse().unwrap()), "{text}");
            assert!(Addresses::any().permits(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_operator_can_allow_more() {
        let rule = Addresses::public().and("10.1.0.0/16".parse().unwrap()).and("::1".parse().unwrap());
        for (text, permitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("::1", true),
            ("::2", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(rule.permits(text.parse().unwrap()), permitted, "{text}");
        }
        let all = Addresses::public().and("0.0.0.0/0".parse().unwrap());
        assert!(all.permits("127.0.0.1".parse().unwrap()) && !all.permits("::1".parse().unwrap()));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "::ffff:10.0.0.0/104",
            "x/8",
        ] {
            assert!(bad.parse::<AddressBlock>().is_err(), "{bad}");
        }
        assert_eq!("10.1.0.0/16".parse::<AddressBlock>().unwrap().to_string(), "10.1.0.0/16");
        assert_eq!("::1".parse::<AddressBlock>().unwrap().to_string(), "::1/128");
    }
}
