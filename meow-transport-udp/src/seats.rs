//! Who has how many of a listener's connections, so that nobody has them all.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::transport::{Network, Tally};

/// The seats of one listener.
#[derive(Debug)]
pub(crate) struct Seats {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

/// Seats that are taken, those of connections among them that have ended and that nobody has looked at since.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: Tally,
}

impl Seats {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, taken: Mutex::default() })
    }

    /// Whether an address has so many connections that it is made to answer before another one: who gives a forged address
    /// takes no more than a part of the seats from its owner.
    pub(crate) fn crowded(&self, address: IpAddr) -> bool {
        self.taken().of.of(Network::of(address)) >= self.most_per_address.div_ceil(4)
    }

    /// A seat for a connection from this address. Beyond the bound for an address, a site of them has no more than it leaves
    /// to all others; this machine's own connections have no such bound.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let network = Network::of(address);
        let mut taken = self.taken();
        let free = self.most.saturating_sub(taken.all);
        let shares = address.to_canonical().is_loopback() || taken.of.of(network.site()) < free;
        if free == 0 || !shares || taken.of.of(network) >= self.most_per_address {
            return None;
        }
        taken.all += 1;
        taken.of.add(network, 1);
        Some(Seat { seats: Arc::clone(self), network })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Every change is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the connections that an address may have.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    network: Network,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all = taken.all.saturating_sub(1);
        taken.of.remove(self.network, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many seats as this address gets.
    fn fill(seats: &Arc<Seats>, from: &str) -> Vec<Seat> {
        std::iter::from_fn(|| seats.take(from.parse().unwrap())).collect()
    }

    #[test]
    fn a45_a_network_of_48_bits_has_half_of_the_connections_however_many_addresses_it_uses() {
        let seats = Seats::new(1024, 128);
        let one = fill(&seats, "2001:db8:1::1");
        assert_eq!(one.len(), 128);
        let site: Vec<_> = (1..2000u32).flat_map(|n| fill(&seats, &format!("2001:db8:1:{n:x}::1"))).collect();
        assert_eq!(one.len() + site.len(), 512);
        assert_eq!(fill(&seats, "2001:db8:2::1").len(), 128);
        let other: Vec<_> = (0..=255).flat_map(|n| fill(&seats, &format!("192.0.2.{n}"))).collect();
        assert_eq!(other.len(), 256, "another one has half of the rest");
        assert_eq!(fill(&seats, "198.51.100.1").len(), 128);
        drop((one, site));
        assert!(!fill(&seats, "2001:db8:1:7::1").is_empty(), "what has ended counts no more");
    }

    #[test]
    fn a45_an_address_with_a_quarter_of_its_connections_is_made_to_answer() {
        let seats = Seats::new(100, 8);
        let mut held = Vec::new();
        for n in 0..8 {
            assert_eq!(seats.crowded("192.0.2.1".parse().unwrap()), n >= 2);
            held.extend(seats.take("::ffff:192.0.2.1".parse().unwrap()));
        }
        assert_eq!(held.len(), 8);
        assert!(seats.take("192.0.2.1".parse().unwrap()).is_none());
        drop(held);
        assert!(seats.taken().all == 0 && seats.taken().of.is_empty());
    }

    #[test]
    fn this_machine_may_have_all() {
        let seats = Seats::new(4, 4);
        assert_eq!(fill(&seats, "127.0.0.1").len(), 4);
    }
}
