//! Who a request came from, behind reverse proxies that the operator listed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::HeaderName;

/// The one header that is looked at.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address, or a block of them in prefix notation: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// A text that is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address or a block of addresses, like 127.0.0.1 or fd00::/8")]
pub struct NetworkError;

impl Network {
    /// Whether the address lies in the block. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or(NetworkError)?,
            None => bits,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address a request came from. Starts at the socket's own far end and follows `X-Forwarded-For` from the
/// right for as long as the hop so far is a listed proxy; what a stranger wrote further left is never believed.
pub(crate) fn client(socket: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let mut address = socket.to_canonical();
    if proxies.is_empty() {
        return address;
    }
    let trusted = |address| proxies.iter().any(|network| network.contains(address));
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
    for hop in hops {
        if !trusted(address) {
            break;
        }
        // A listed proxy that writes no address ("unknown") is the last hop we know.
        let Some(further) = hop_address(hop) else { break };
        address = further;
    }
    address
}

/// A hop is written as an address, with or without a port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(socket: &str, lines: &[&'static str], proxies: &[&str]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, http::HeaderValue::from_static(line));
        }
        let proxies: Vec<Network> = proxies.iter().map(|text| text.parse().unwrap()).collect();
        client(ip(socket), &headers, &proxies)
    }

    #[test]
    fn only_listed_proxies_are_believed() {
        assert_eq!(from("9.9.9.9", &["1.2.3.4"], &[]), ip("9.9.9.9"));
        assert_eq!(from("9.9.9.9", &["1.2.3.4"], &["127.0.0.1"]), ip("9.9.9.9"));
        assert_eq!(from("127.0.0.1", &["1.2.3.4"], &["127.0.0.1"]), ip("1.2.3.4"));
        assert_eq!(from("::ffff:127.0.0.1", &["1.2.3.4"], &["127.0.0.0/8"]), ip("1.2.3.4"));
    }

    #[test]
    fn the_right_most_stranger_is_the_client() {
        let proxies = ["127.0.0.1", "10.0.0.0/8"];
        assert_eq!(from("127.0.0.1", &["6.6.6.6, 1.2.3.4, 10.1.1.1"], &proxies), ip("1.2.3.4"));
        assert_eq!(from("127.0.0.1", &["6.6.6.6", "1.2.3.4", "10.1.1.1"], &proxies), ip("1.2.3.4"));
        assert_eq!(from("127.0.0.1", &["10.2.2.2"], &proxies), ip("10.2.2.2"));
        assert_eq!(from("127.0.0.1", &[], &proxies), ip("127.0.0.1"));
    }

    #[test]
    fn odd_hops_end_the_walk_and_ports_are_dropped() {
        let proxies = ["127.0.0.1", "10.0.0.0/8"];
        assert_eq!(from("127.0.0.1", &["6.6.6.6, unknown, 10.1.1.1"], &proxies), ip("10.1.1.1"));
        assert_eq!(from("127.0.0.1", &["1.2.3.4:5678"], &proxies), ip("1.2.3.4"));
        assert_eq!(from("127.0.0.1", &["[2001:db8::1]:99"], &proxies), ip("2001:db8::1"));
        assert_eq!(from("127.0.0.1", &["[2001:db8::1]"], &proxies), ip("2001:db8::1"));
        assert_eq!(from("127.0.0.1", &["::ffff:1.2.3.4"], &proxies), ip("1.2.3.4"));
    }

    #[test]
    fn networks_parse_and_contain() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("8.8.8.8")) && !all.contains(ip("::1")));
        let v6: Network = "fd00::/8".parse().unwrap();
        assert!(v6.contains(ip("fd12::1")) && !v6.contains(ip("fe80::1")));
        assert_eq!(v6.to_string(), "fd00::/8");
        for bad in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3.4/", "1.2.3"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkError), "{bad}");
        }
    }
}
