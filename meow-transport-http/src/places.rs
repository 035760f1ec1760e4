//! Who has how many of a listener's connections, so that nobody has them all.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::transport::{Network, Tally};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Tally>,
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

    /// Gives the place to a connection from this address, if that leaves as many to others ([`Tally::share`]).
    pub(crate) fn give(self: &Arc<Self>, permit: OwnedSemaphorePermit, from: IpAddr) -> Option<Place> {
        let network = Network::of(from);
        let mut taken = self.taken();
        if taken.share(network, self.free.available_permits() + 1) == 0 {
            return None;
        }
        taken.add(network, 1);
        Some(Place { counted: Some((Arc::clone(self), network)), _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, Tally> {
        // Every change is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropped, it is free.
pub(crate) struct Place {
    counted: Option<(Arc<Places>, Network)>,
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
        if let Some((places, network)) = &self.counted {
            places.taken().remove(*network, 1);
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
        assert!(places.taken().is_empty());
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
}
