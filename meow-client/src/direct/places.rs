//! Where this device is, and which of the places that a contact names may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use meow_core::direct::{MAX_REACH_URL, Reach};
use meow_core::request::Seen;
use meow_core::transport::{Addresses, Endpoint, Host};
use meow_core::wire::{List, Text};

/// Addresses of the public Internet that are dialled by one word of a contact, and as many of the own network: one of each
/// family. More would send a network that has them more than a knock costs.
const MOST: usize = 2;
/// The scheme that is shown to contacts, and dialled by their word.
const SCHEME: &str = "udp";

/// The places to show: those of the listeners, with the addresses of this machine and the one that a server sees.
pub(super) fn own(local: &[Endpoint], seen: Option<Seen>) -> Vec<Endpoint> {
    let mut places: Vec<Endpoint> = Vec::new();
    let listens = local.iter().any(|endpoint| endpoint.scheme() == SCHEME);
    if let Some(seen) = seen.filter(|seen| !listens && seen.port != 0) {
        // Nobody comes in there; but who dials it opens the way for what is dialled from there.
        let host = match seen.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        places.extend(format!("{SCHEME}://{host}:{}/", seen.port).parse());
    }
    for endpoint in local.iter().filter(|endpoint| endpoint.scheme() == SCHEME) {
        let (Some(Host::Ip(bound)), Some(port)) = (endpoint.host(), endpoint.port()) else { continue };
        let here = if bound.is_unspecified() { source(*bound) } else { Some(*bound) };
        let mut add = |ip: IpAddr, port: u16| {
            let place = endpoint.clone().with_ip(ip).with_port(port);
            if !places.contains(&place) {
                places.push(place);
            }
        };
        if let Some(here) = here {
            add(here, port);
        }
        if let Some(seen) = seen
            && seen.ip().is_ipv4() == bound.is_ipv4()
        {
            // Without a port the best guess is that it is forwarded as it is.
            add(seen.ip(), if seen.port == 0 { port } else { seen.port });
        }
    }
    places
}

/// The places as a reach.
pub(super) fn reach(places: &[Endpoint], at_ms: u64) -> Reach {
    let urls = places.iter().map(Endpoint::to_string).filter(|url| url.len() <= MAX_REACH_URL);
    Reach { at_ms, urls: List::take(urls.filter_map(|url| Text::new(url).ok())) }
}

/// Places of one contact to be dialled together.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) all: Vec<Endpoint>,
    /// The user wrote them: they are dialled whenever the contact is.
    pub(super) users: bool,
    /// An address at which a server of one's own sees the contact right now: more may be done there to come through.
    pub(super) proven: Option<IpAddr>,
}

impl Places {
    /// Whether a server of one's own has said that this is where the contact is.
    pub(super) fn is_proven(&self, place: &Endpoint) -> bool {
        address(place).is_some_and(|ip| self.proven == Some(ip))
    }
}

/// The literal address of a place.
pub(super) fn address(place: &Endpoint) -> Option<IpAddr> {
    match place.host() {
        Some(Host::Ip(ip)) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// Those of a contact's places that may be dialled: literal addresses, of the scheme for it, one for each address, of the
/// public Internet or of this machine's own network, and few of each: the last ones, where servers see the contact.
pub(super) fn allowed(reach: &Reach, addresses: &Addresses) -> Vec<Endpoint> {
    let mut allowed: Vec<(IpAddr, Endpoint)> = Vec::new();
    let (mut far, mut near) = (0, 0);
    for url in reach.urls.iter().rev() {
        let Ok(endpoint) = url.parse::<Endpoint>() else { continue };
        let plain = endpoint.credentials().is_none() && endpoint.options().finish().is_ok();
        let Some(Host::Ip(ip)) = endpoint.host() else { continue };
        let ip = ip.to_canonical();
        let dialled = plain && endpoint.scheme() == SCHEME && endpoint.port().is_some_and(|port| port != 0);
        if !dialled || allowed.iter().any(|(known, _)| *known == ip) {
            continue;
        }
        let count = if is_neighbour(ip) {
            &mut near
        } else if addresses.permits(ip) {
            &mut far
        } else {
            continue;
        };
        if *count < MOST {
            *count += 1;
            allowed.push((ip, endpoint));
        }
    }
    allowed.into_iter().rev().map(|(_, endpoint)| endpoint).collect()
}

/// Whether an address is of the network that this machine is in: its own source address for it has the same first bits.
fn is_neighbour(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match (ip, source(ip)) {
        (IpAddr::V4(there), Some(IpAddr::V4(here))) => {
            here != there && here.to_bits() >> 8 == there.to_bits() >> 8 && there.octets()[3] != 255
        }
        (IpAddr::V6(there), Some(IpAddr::V6(here))) => {
            here != there && here.to_bits() >> 64 == there.to_bits() >> 64
        }
        _ => false,
    }
}

/// This machine's address towards another one; towards the Internet, where that one is not said. Nothing is sent.
fn source(to: IpAddr) -> Option<IpAddr> {
    let (any, far): (IpAddr, IpAddr) = match to {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(1, 1, 1, 1).into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1).into()),
    };
    let to = if to.is_unspecified() { far } else { to };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    let here = socket.local_addr().ok()?.ip();
    (!here.is_unspecified()).then_some(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(urls: &[&str]) -> Reach {
        Reach { at_ms: 0, urls: List::take(urls.iter().map(|url| Text::new(*url).unwrap())) }
    }

    #[test]
    fn a28_a44_what_a_contact_names_is_dialled_only_where_that_harms_nobody() {
        let refused = [
            "udp://127.0.0.1:41325/",
            "udp://[::1]:41325/",
            "udp://169.254.169.254:80/",
            "udp://10.255.254.253:41325/",
            "udp://[::ffff:127.0.0.1]:41325/",
            "udp://1.1.1.1:0/",
        ];
        assert_eq!(allowed(&named(&refused), &Addresses::public()), []);
        let refused = [
            "udp://relay.example:41325/",
            "http://1.1.1.1:80/",
            "serial://dev/ttyS0",
            "file:///etc/passwd",
            "udp://user:pass@1.1.1.1:41325/",
            "udp://1.1.1.1:41325/?x=1",
            "not a URL",
        ];
        assert_eq!(allowed(&named(&refused), &Addresses::any()), []);
        let victim =
            ["udp://[::ffff:1.1.1.1]:3/", "udp://1.1.1.1:1/", "udp://1.1.1.1:2/", "udp://9.9.9.9:4/"];
        let places = allowed(&named(&victim), &Addresses::public());
        let shown: Vec<_> = places.iter().map(Endpoint::to_string).collect();
        assert_eq!(shown, ["udp://1.1.1.1:2/", "udp://9.9.9.9:4/"], "one for each address");
        let network: Vec<_> = (1..=8).map(|n| format!("udp://1.1.1.{n}:41325/")).collect();
        let network: Vec<_> = network.iter().map(String::as_str).collect();
        let places = allowed(&named(&network), &Addresses::public());
        let shown: Vec<_> = places.iter().map(Endpoint::to_string).collect();
        assert_eq!(shown, network[6..], "two of a network that has many");
    }

    #[test]
    fn what_is_shown_is_where_others_can_dial() {
        let local =
            ["udp://192.0.2.9:41325", "memory://here", "serial://dev/ttyS0"].map(|url| url.parse().unwrap());
        let seen = Seen::new([198, 51, 100, 7].into(), 5000);
        let shown = |seen| own(&local, seen).iter().map(Endpoint::to_string).collect::<Vec<_>>();
        assert_eq!(shown(None), ["udp://192.0.2.9:41325/"]);
        assert_eq!(shown(Some(seen)), ["udp://192.0.2.9:41325/", "udp://198.51.100.7:5000/"]);
        let dials_only: Vec<_> = own(&[], Some(seen)).iter().map(Endpoint::to_string).collect();
        assert_eq!(dials_only, ["udp://198.51.100.7:5000/"]);
        let unknown = Seen { port: 0, ..seen };
        assert_eq!(shown(Some(unknown)), ["udp://192.0.2.9:41325/", "udp://198.51.100.7:41325/"]);
        let reach = reach(&own(&local, Some(seen)), 5);
        assert_eq!((reach.at_ms, reach.urls.len()), (5, 2));
    }
}
