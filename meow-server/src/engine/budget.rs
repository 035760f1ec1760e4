//! How much may be open or wait: in all, and of one source. Packets are counted in bytes, links one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::transport::Tally;

use super::Source;

/// The budget of what waits here.
#[derive(Debug)]
pub(crate) struct Budget {
    all: usize,
    per_source: usize,
    /// What a server of the catalog has for one of another source.
    server_share: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    sources: HashMap<Source, usize>,
    networks: Tally,
}

impl Used {
    /// What a source has, and its site with it.
    fn of(&self, source: Source) -> (usize, usize) {
        match source {
            Source::Address(network) => (self.networks.of(network), self.networks.of(network.site())),
            _ => (self.sources.get(&source).copied().unwrap_or_default(), 0),
        }
    }
}

impl Budget {
    pub(crate) fn new(all: usize, per_source: usize, server_share: usize) -> Arc<Self> {
        Arc::new(Self { all, per_source, server_share, used: Mutex::default() })
    }

    /// Room for so much, as long as the value lives. Sources are told apart as they are for their rates. None has more than
    /// there was left when it asked, nor do all addresses of one site together: so a few do not take everything, and one that
    /// has nothing yet finds room.
    pub(crate) fn take(self: &Arc<Self>, source: Source, amount: usize) -> Option<Room> {
        let most = match source {
            Source::Server(_) | Source::Servers(_) => self.per_source.saturating_mul(self.server_share),
            _ => self.per_source,
        };
        self.room(source, amount, |left, (own, site)| {
            most.min(left).saturating_sub(own).min(left.saturating_sub(site))
        })
    }

    /// Room for so much of what is left, for a source that is not bounded by itself.
    pub(crate) fn take_any(self: &Arc<Self>, source: Source, amount: usize) -> Option<Room> {
        self.room(source, amount, |left, _| left)
    }

    fn room(
        self: &Arc<Self>,
        source: Source,
        amount: usize,
        free: impl FnOnce(usize, (usize, usize)) -> usize,
    ) -> Option<Room> {
        let mut used = self.used();
        let own = used.of(source);
        if amount > free(self.all.saturating_sub(used.all), own) {
            return None;
        }
        used.all += amount;
        match source {
            Source::Address(network) => used.networks.add(network, amount),
            _ => drop(used.sources.insert(source, own.0 + amount)),
        }
        Some(Room { budget: Arc::clone(self), source, amount })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Every change is whole.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is taken.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    source: Source,
    amount: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.all = used.all.saturating_sub(self.amount);
        if let Source::Address(network) = self.source {
            used.networks.remove(network, self.amount);
        } else if let Some(own) = used.sources.get_mut(&self.source) {
            *own = own.saturating_sub(self.amount);
            if *own == 0 {
                used.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LINE: Source = Source::Listener(3);

    fn at(address: &str) -> Source {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a22_what_waits_is_bounded_in_all_and_for_each_source() {
        let budget = Budget::new(6 * 2048, 3 * 2048, 1);
        let (a, b) = (at("10.0.0.1"), at("10.0.1.2"));
        let mapped = at("::ffff:10.0.0.1");
        let mut rooms: Vec<_> = (0..3).map(|_| budget.take(a, 2048).unwrap()).collect();
        assert!(budget.take(a, 2048).is_none() && budget.take(mapped, 2048).is_none(), "one source");
        let others = [budget.take(b, 2048).unwrap(), budget.take(LINE, 2048).unwrap()];
        assert!(budget.take(LINE, 2048).is_none() && budget.take(b, 2048).is_none(), "as much as was left");
        rooms.pop();
        assert!(budget.take(LINE, 2048).is_some());
        drop((rooms, others));
        assert!(
            budget.used().sources.is_empty() && budget.used().networks.is_empty() && budget.used().all == 0
        );
    }

    #[test]
    fn a22_a_few_sources_do_not_take_all_the_links_that_are_held() {
        let budget = Budget::new(2048, 512, 16);
        let from = |n: u8| Source::from(IpAddr::from([192, 0, n, 1]));
        let mut rooms = Vec::new();
        let mut took = Vec::new();
        for source in 1..=8 {
            let before = rooms.len();
            rooms.extend(std::iter::from_fn(|| budget.take(from(source), 1)));
            took.push(rooms.len() - before);
        }
        assert_eq!(took, [512, 512, 512, 256, 128, 64, 32, 16]);
        assert!(budget.take(from(9), 1).is_some(), "who has nothing yet finds room");
        // A server of the catalog has more, and no more than it leaves to others.
        drop(rooms);
        let mut rooms = Vec::new();
        for (source, most) in
            [(Source::Server(0), 1024), (Source::Server(1), 512), (LINE, 256), (from(1), 128)]
        {
            let before = rooms.len();
            rooms.extend(std::iter::from_fn(|| budget.take(source, 1)));
            assert_eq!(rooms.len() - before, most);
        }
    }

    #[test]
    fn a22_who_is_not_bounded_may_take_what_is_there() {
        let budget = Budget::new(10, 3, 1);
        let rooms: Vec<_> = std::iter::from_fn(|| budget.take_any(Source::Here, 1)).collect();
        assert!(rooms.len() == 10 && budget.take(LINE, 1).is_none());
    }

    #[test]
    fn a22_neither_large_packets_nor_many_addresses_of_one_network_go_around_the_bound() {
        let budget = Budget::new(1 << 20, 10 * 2048, 16);
        assert!(budget.take(at("10.0.0.1"), 33_792).is_none());
        let rooms: Vec<_> =
            (0..20).filter_map(|n| budget.take(at(&format!("2001:db8::{n:x}")), 2048)).collect();
        assert_eq!(rooms.len(), 10);
        assert!(budget.take(at("2001:db8:0:1::1"), 2048).is_some(), "another network");
    }

    #[test]
    fn a22_a_network_of_48_bits_has_half_of_what_waits_however_many_addresses_it_uses() {
        let budget = Budget::new(4096, 512, 16);
        let flood = |site: u16| {
            let one = |n: u16| Source::from(IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1]));
            (0..3000)
                .flat_map(|n| {
                    std::iter::from_fn(move || Some(one(n)))
                        .map_while(|source| budget.take(source, 1))
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        let rooms = [flood(1), flood(2), flood(3)];
        assert_eq!([0, 1, 2].map(|n: usize| rooms[n].len()), [2048, 1024, 512]);
        assert!(budget.take(at("2001:db8:1:7::1"), 1).is_none());
        assert!(budget.take(at("192.0.2.1"), 1).is_some() && budget.take(Source::Server(0), 1).is_some());
        drop(rooms);
        assert!(budget.used().networks.is_empty());
    }
}
