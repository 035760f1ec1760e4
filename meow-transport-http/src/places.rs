//! Who has how many of a listener's connections, so that nobody has them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// By IPv4 address, or IPv6 network of 64 bits.
    addresses: HashMap<IpAddr, usize>,
    /// By network of 24 bits of IPv4, or 48 of IPv6: who has one of these has many of those.
    networks: HashMap<IpAddr, usize>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(most.max(1))), taken: Mutex::default() })
    }

    /// A place for whoever comes next, as soon as one is free. `None` never comes: the semaphore is not closed.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Gives the place to a connection from this address, if that leaves as many to others: a network has no more than there
    /// are free, an address in it no more than are left of those. So an address alone takes a third, its network half,
    /// and who has none yet finds one as long as there is any.
    pub(crate) fn give(self: &Arc<Self>, permit: OwnedSemaphorePermit, from: IpAddr) -> Option<Place> {
        let keys = (cut(from, 32, 64), cut(from, 24, 48));
        let mut taken = self.taken();
        let free = self.free.available_permits() + 1;
        let own = |table: &HashMap<IpAddr, usize>, key| table.get(&key).copied().unwrap_or_default();
        let left = free.saturating_sub(own(&taken.networks, keys.1));
        if own(&taken.addresses, keys.0) >= left {
            return None;
        }
        *taken.addresses.entry(keys.0).or_default() += 1;
        *taken.networks.entry(keys.1).or_default() += 1;
        Some(Place { counted: Some((Arc::clone(self), keys)), _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Every change is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropped, it is free.
pub(crate) struct Place {
    counted: Option<(Arc<Places>, (IpAddr, IpAddr))>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// One that counts for nobody: of this machine, or of a proxy that brings many.
    pub(crate) fn uncounted(permit: OwnedSemaphorePermit) -> Self {
        Self { counted: None, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, (address, network))) = &self.counted else { return };
        let mut taken = places.taken();
        less(&mut taken.addresses, address);
        less(&mut taken.networks, network);
    }
}

fn less(table: &mut HashMap<IpAddr, usize>, key: &IpAddr) {
    if let Some(count) = table.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            table.remove(key);
        }
    }
}

/// The first so many bits of an address.
fn cut(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - v4_bits).unwrap_or_default();
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - v6_bits).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// As many connections as this address gets.
    fn fill(places: &Arc<Places>, from: &str) -> Vec<Place> {
        let from = from.parse().unwrap();
        std::iter::from_fn(|| places.give(places.free().now_or_never()??, from)).collect()
    }

    #[test]
    fn a45_one_address_takes_a_third_of_the_connections_and_one_network_half() {
        let places = Places::new(1200);
        let one = fill(&places, "192.0.2.1");
        assert_eq!(one.len(), 400);
        assert!(fill(&places, "::ffff:192.0.2.1").is_empty(), "the same in another form");
        let others: Vec<_> = (2..=60).map(|n| fill(&places, &format!("192.0.2.{n}"))).collect();
        assert_eq!(one.len() + others.iter().map(Vec::len).sum::<usize>(), 600);
        let six: Vec<_> = (0..60).map(|n| fill(&places, &format!("2001:db8:1:{n:x}::1"))).collect();
        assert_eq!((six[0].len(), six.iter().map(Vec::len).sum::<usize>()), (200, 300));
        assert_eq!(fill(&places, "2001:db8:2::1").len(), 100, "another network");
    }

    #[test]
    fn a_connection_that_ends_leaves_nothing_behind() {
        let places = Places::new(3);
        let held = fill(&places, "192.0.2.1");
        assert_eq!((held.len(), fill(&places, "192.0.2.1").len()), (1, 0));
        let local = Place::uncounted(places.free().now_or_never().unwrap().unwrap());
        drop((held, local));
        assert!(places.taken().addresses.is_empty() && places.taken().networks.is_empty());
        assert_eq!(places.free.available_permits(), 3);
    }

    #[test]
    fn the_last_place_is_for_who_has_none() {
        let places = Places::new(2);
        let one = fill(&places, "192.0.2.1");
        assert_eq!((one.len(), fill(&places, "192.0.2.2").len()), (1, 0), "nor for who shares its network");
        let other = fill(&places, "198.51.100.1");
        assert_eq!(other.len(), 1);
        assert!(places.free().now_or_never().is_none(), "none is left");
    }

    #[test]
    fn addresses_are_cut_to_their_networks() {
        for (address, v4, v6, cut_to) in [
            ("192.0.2.77", 24, 48, "192.0.2.0"),
            ("192.0.2.77", 32, 64, "192.0.2.77"),
            ("2001:db8:1:2:3::4", 24, 48, "2001:db8:1::"),
            ("2001:db8:1:2:3::4", 32, 64, "2001:db8:1:2::"),
        ] {
            assert_eq!(cut(address.parse().unwrap(), v4, v6), cut_to.parse::<IpAddr>().unwrap());
        }
    }
}
