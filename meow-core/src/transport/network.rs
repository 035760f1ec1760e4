//! Whose address it is, as far as peers are told apart by addresses.
//!
//! Addresses are cheap: an IPv6 subscriber has a network of 64 bits at least, and for the asking one of 48 bits, which is 65,536 of
//! those. So what is bounded for each address is bounded for its network too (docs/operations/configuration.md).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that an address is of, at one of two widths. An IPv4 address in IPv6 form counts as what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    site: bool,
}

impl Network {
    /// What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address, all of which one host can use.
    pub fn of(address: IpAddr) -> Self {
        let first = match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 => v4,
        };
        Self { first, site: false }
    }

    /// What one hand is likely to have of addresses: the first 24 bits of IPv4, 48 of IPv6.
    #[must_use]
    pub fn site(self) -> Self {
        let first = match self.first {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        };
        Self { first, site: true }
    }

    /// The first address of the network.
    pub fn address(self) -> IpAddr {
        self.first
    }
}

/// How much each network has of something that is bounded: each that counts as one address, and each site of them. It holds nothing of who
/// has nothing, so it is as bounded as what is counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: HashMap<Network, usize>,
}

impl Tally {
    /// Nobody has anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much this network has.
    pub fn of(&self, network: Network) -> usize {
        self.counts.get(&network).copied().unwrap_or_default()
    }

    /// How much more this address may have, where so much is `free`: its site no more than is then left to all others, the address no more than
    /// is left to others of its site. So a site alone takes half of all and an address alone a third, and who has nothing yet finds some as
    /// long as there is any.
    pub fn share(&self, network: Network, free: usize) -> usize {
        free.saturating_sub(self.of(network.site())).saturating_sub(self.of(network))
    }

    /// This address, and its site, have so much more.
    pub fn add(&mut self, network: Network, amount: usize) {
        if amount > 0 {
            for network in [network, network.site()] {
                let own = self.counts.entry(network).or_default();
                *own = own.saturating_add(amount);
            }
        }
    }

    /// They have so much less.
    pub fn remove(&mut self, network: Network, amount: usize) {
        for network in [network, network.site()] {
            if let Some(own) = self.counts.get_mut(&network) {
                *own = own.saturating_sub(amount);
                if *own == 0 {
                    self.counts.remove(&network);
                }
            }
        }
    }

    /// Whether nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_cut_to_their_networks() {
        for (address, one, site) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::"),
        ] {
            let network = at(address);
            assert_eq!(network.address(), one.parse::<IpAddr>().unwrap());
            assert_eq!(network.site().address(), site.parse::<IpAddr>().unwrap());
            assert_eq!(network.site().site(), network.site());
        }
        // The widths are told apart where the first address is the same.
        assert_ne!(at("2001:db8:1::"), at("2001:db8:1::").site());
    }

    /// As much as each of these gets of what is free, one after the other, until it has no share.
    fn fill<const N: usize>(tally: &mut Tally, free: &mut usize, addresses: [&str; N]) -> [usize; N] {
        addresses.map(|address| {
            let taken = std::iter::from_fn(|| {
                (tally.share(at(address), *free) > 0).then(|| {
                    tally.add(at(address), 1);
                    *free -= 1;
                })
            });
            taken.count()
        })
    }

    #[test]
    fn an_address_alone_has_a_third_a_site_half_and_nobody_all() {
        let (mut tally, mut free) = (Tally::new(), 1200);
        let one = fill(&mut tally, &mut free, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1"]);
        assert_eq!(one, [400, 134, 44, 208]);
        for n in 0..2000u32 {
            fill(&mut tally, &mut free, [&format!("2001:db8:1:{n:x}::1")]);
        }
        let rest = free;
        assert!(tally.of(at("2001:db8:1::").site()) <= rest + 1 && rest > 100);
        assert!(fill(&mut tally, &mut free, ["2001:db8:2::1"])[0] > 0);
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let mut tally = Tally::new();
        tally.add(at("2001:db8::1"), 5);
        tally.add(at("2001:db8:0:1::1"), 2);
        assert_eq!((tally.of(at("2001:db8::9")), tally.of(at("2001:db8::").site())), (5, 7));
        tally.remove(at("2001:db8::1"), 5);
        tally.remove(at("2001:db8:0:1::1"), 2);
        tally.add(at("192.0.2.1"), 0);
        assert!(tally.is_empty());
    }
}
