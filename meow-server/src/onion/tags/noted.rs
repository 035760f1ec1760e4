//! Who has noted how many tags under one key, so that nobody takes the room of all others.

use std::collections::HashMap;

use meow_core::transport::Network;

use crate::engine::Source;

/// Addresses, and networks, that are counted apart.
pub(super) const APART: usize = 4096;

/// What one source has noted under one key since the start. Listeners and the servers of the catalog are few, and always
/// counted apart. Addresses are cheap (who has an IPv6 network of 48 bits has 65,536 that count as sources), so they are
/// bounded by network, and all together leave a quarter to what knows no address and to the servers of the catalog.
#[derive(Debug, Default)]
pub(super) struct Noted {
    known: HashMap<Source, usize>,
    addresses: HashMap<Network, usize>,
    /// `None` is all networks for which there is no room here.
    networks: HashMap<Option<Network>, usize>,
    /// By addresses together.
    strangers: usize,
}

impl Noted {
    /// Counts one more of this source, if it may note one, where `most` tags have room, and `left` of them still have.
    ///
    /// A listener or a server may while it has noted fewer than are left: one alone fills half. A network may while it has noted
    /// less than a fifth of what is left to addresses, and an address in it while it has noted less than what is left to
    /// the network: a network alone fills an eighth of all, and one address alone half of that, about. Whoever has nothing
    /// yet finds room as long as there is any.
    pub(super) fn note(&mut self, source: Source, most: usize, left: usize) -> bool {
        let Source::Address(address) = source else {
            let own = self.known.entry(source).or_default();
            return more(own, left);
        };
        let room = left.min((most - most / 4).saturating_sub(self.strangers));
        let network = Some(address.site());
        let (network, share) = if has_place(&self.networks, &network) {
            (network, room.div_ceil(5))
        } else {
            // They are many, and no more of one hand than the others.
            (None, room)
        };
        let noted = self.networks.get(&network).copied().unwrap_or_default();
        let rest = share.saturating_sub(noted);
        // Without a place of its own an address is bounded by its network alone.
        if has_place(&self.addresses, &address) {
            if !more(self.addresses.entry(address).or_default(), rest) {
                return false;
            }
        } else if rest == 0 {
            return false;
        }
        *self.networks.entry(network).or_default() += 1;
        self.strangers += 1;
        true
    }
}

/// One more, if it is below the bound.
fn more(own: &mut usize, bound: usize) -> bool {
    let may = *own < bound;
    *own += usize::from(may);
    may
}

fn has_place<K: Eq + std::hash::Hash>(table: &HashMap<K, usize>, key: &K) -> bool {
    table.len() < APART || table.contains_key(key)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const MOST: usize = 1_000_000;

    /// A key's table without the tags.
    struct Key {
        noted: Noted,
        most: usize,
        left: usize,
    }

    impl Key {
        fn new(most: usize) -> Self {
            Self { noted: Noted::default(), most, left: most }
        }

        fn note(&mut self, source: Source) -> bool {
            let may = self.left > 0 && self.noted.note(source, self.most, self.left);
            self.left -= usize::from(may);
            may
        }

        /// How many a source gets in when it sends until it is refused.
        fn fill(&mut self, source: Source) -> usize {
            std::iter::from_fn(|| self.note(source).then_some(())).count()
        }
    }

    fn at(address: &str) -> Source {
        address.parse::<IpAddr>().unwrap().into()
    }

    /// Each of so many addresses of an IPv6 network of 48 bits, in turns, until none gets one in.
    fn flood(key: &mut Key, site: u16, networks: u16) -> usize {
        let source = |n: u16| Source::from(IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1]));
        let turn = |key: &mut Key| (0..networks).filter(|n| key.note(source(*n))).count();
        std::iter::from_fn(|| Some(turn(key)).filter(|count| *count > 0)).sum()
    }

    #[test]
    fn a22_a_network_of_48_bits_or_24_takes_an_eighth_of_the_tags_however_many_addresses_it_uses() {
        let mut key = Key::new(MOST);
        assert_eq!(key.fill(at("2001:db8:1:1::1")), 68_182, "one address alone");
        flood(&mut key, 1, 3000);
        assert!(MOST / 8 - (MOST - key.left) < 50, "all but what one of them has: {}", key.left);
        assert_eq!(key.fill(at("2001:db8:2:1::1")), 56_820, "as much again, of what is left");
        let mut key = Key::new(MOST);
        let all: usize = (0..=255).map(|n| key.fill(Source::from(IpAddr::from([203, 0, 113, n])))).sum();
        assert_eq!(all, MOST / 8);
        assert!(!key.note(at("::ffff:203.0.113.9")), "the mapped form is the same address");
        assert!(key.note(at("203.0.112.9")));
    }

    #[test]
    fn a22_sixteen_networks_leave_room_for_a_seventeenth_and_none_takes_that_of_a_server() {
        let mut key = Key::new(MOST);
        for site in 0..16 {
            flood(&mut key, site, 300);
        }
        assert!(key.fill(at("203.0.113.9")) > 3000);
        for site in 16..400 {
            flood(&mut key, site, 4);
        }
        assert_eq!(key.left, MOST / 4);
        assert!(!key.note(at("198.51.100.1")), "the addresses have had their part");
        assert_eq!(key.fill(Source::Server(0)), MOST / 8);
        assert_eq!(key.fill(Source::Listener(0)), MOST / 16);
        assert_eq!(key.fill(Source::Servers(Network::of([192, 0, 2, 1].into()))), MOST / 32);
    }

    #[test]
    fn a22_a_server_of_the_catalog_is_no_part_of_its_network() {
        let mut key = Key::new(MOST);
        for n in 0..=255 {
            key.fill(Source::from(IpAddr::from([203, 0, 113, n])));
        }
        assert_eq!(key.fill(Source::Server(3)), MOST * 7 / 16);
        assert_eq!(key.fill(Source::Servers(Network::of([203, 0, 113, 7].into()))), MOST * 7 / 32);
    }

    #[test]
    fn a22_many_addresses_do_not_make_others_count_with_them() {
        // From one network: without a place, an address of another one has what its network has.
        let mut key = Key::new(MOST);
        flood(&mut key, 1, u16::MAX);
        assert_eq!((key.noted.addresses.len(), key.noted.networks.len()), (APART, 1));
        assert_eq!(key.fill(at("203.0.113.9")), 104_167);
        assert!(key.note(at("203.0.112.9")) && key.note(Source::Server(0)) && key.note(Source::Listener(0)));
        // From as many networks as there are places: all further ones are one, with half of what is left.
        let mut key = Key::new(4 * APART);
        let network = |n: usize| Source::from(IpAddr::from(u32::try_from(n << 8).unwrap().to_be_bytes()));
        assert!((0..APART).all(|n| key.note(network(1 + n))));
        let more = (0..4 * APART).filter(|n| key.note(network(10 * APART + n))).count();
        assert_eq!((more, key.noted.networks.len()), (APART, APART + 1));
        assert!(!key.note(network(100 * APART)), "another one of them");
        assert!(key.note(Source::Server(0)) && key.note(Source::Listener(0)));
    }
}
