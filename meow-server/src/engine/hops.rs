//! What each address may ask: a token bucket and a count of open requests, in a bounded table.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Addresses that share a rate: one IPv4 address, one IPv6 network of 64 bits. `None` is what the table has no room
/// for.
type Key = Option<IpAddr>;

pub(crate) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[derive(Debug)]
struct Bucket {
    /// In millionths of a unit.
    units: u64,
    at: Duration,
    open: u32,
}

/// The table of addresses. It stays small: `most` buckets and the shared one. Time is handed in: a monotonic reading.
#[derive(Debug)]
pub(crate) struct Hops {
    rate: u64,
    burst: u64,
    open: u32,
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<Key, Bucket>,
    /// When full buckets were last taken out. Looking through the table for each stranger would be dear.
    swept: Duration,
}

/// How long a full table stays unsearched.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

const MILLION: u64 = 1_000_000;

impl Hops {
    pub(crate) fn new(rate: u32, burst: u32, open: u32, most: usize) -> Self {
        let (rate, burst) = (rate.into(), u64::from(burst) * MILLION);
        Self { rate, burst, open, most, table: Mutex::default() }
    }

    /// Takes one unit, and counts the request as open while the value lives. `None` when the address has to wait.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Duration) -> Option<Hop> {
        let mut table = self.table();
        let mut at = Some(key(address));
        if !table.buckets.contains_key(&at) && table.buckets.len() >= self.most {
            if now.saturating_sub(table.swept) >= SWEEP_EVERY {
                table.swept = now;
                table.buckets.retain(|_, bucket| bucket.open > 0 || self.refilled(bucket, now) < self.burst);
            }
            if table.buckets.len() >= self.most {
                at = None;
            }
        }
        let bucket = table.buckets.entry(at).or_insert(Bucket { units: self.burst, at: now, open: 0 });
        self.take(bucket, 1, now).then_some(())?;
        if bucket.open >= self.open {
            return None;
        }
        bucket.open += 1;
        Some(Hop { hops: Arc::clone(self), key: at, counted: true })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is whole, so a poisoned lock is as good as any.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refilled(&self, bucket: &Bucket, now: Duration) -> u64 {
        let passed = now.saturating_sub(bucket.at).as_micros().min(u64::MAX.into()) as u64;
        bucket.units.saturating_add(passed.saturating_mul(self.rate)).min(self.burst)
    }

    fn take(&self, bucket: &mut Bucket, units: u32, now: Duration) -> bool {
        bucket.units = self.refilled(bucket, now);
        bucket.at = now;
        match bucket.units.checked_sub(u64::from(units) * MILLION) {
            Some(left) => {
                bucket.units = left;
                true
            }
            None => false,
        }
    }
}

/// One open request of an address.
#[derive(Debug)]
pub(crate) struct Hop {
    hops: Arc<Hops>,
    key: Key,
    counted: bool,
}

impl Hop {
    /// Takes more units, for a request that turned out to cost more than one.
    pub(crate) fn charge(&self, units: u32, now: Duration) -> bool {
        let mut table = self.hops.table();
        table.buckets.get_mut(&self.key).is_some_and(|bucket| self.hops.take(bucket, units, now))
    }

    /// Counts this request as open, or not, while it only waits.
    pub(crate) fn count(&mut self, counted: bool) {
        if self.counted == counted {
            return;
        }
        self.counted = counted;
        // Full buckets may have been taken out meanwhile; then nothing of this address is counted any more.
        if let Some(bucket) = self.hops.table().buckets.get_mut(&self.key) {
            bucket.open = if counted { bucket.open + 1 } else { bucket.open.saturating_sub(1) };
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.count(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }
    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_address_spends_its_burst_and_then_its_rate() {
        let hops = Arc::new(Hops::new(2, 5, 100, 10));
        let spend = |now| (0..20).filter(|_| hops.enter(at(1), now).is_some()).count();
        assert_eq!(spend(secs(0)), 5);
        assert_eq!(spend(secs(0)), 0);
        assert_eq!(spend(secs(1)), 2);
        assert_eq!(spend(secs(100)), 5);
        assert!(hops.enter(at(2), secs(100)).is_some(), "another address has its own");
    }

    #[test]
    fn a_dear_request_takes_more() {
        let hops = Arc::new(Hops::new(1, 10, 100, 10));
        let hop = hops.enter(at(1), secs(0)).unwrap();
        assert!(hop.charge(9, secs(0)));
        assert!(!hop.charge(1, secs(0)));
        assert!(hop.charge(1, secs(1)));
    }

    #[test]
    fn open_requests_are_counted_until_they_end() {
        let hops = Arc::new(Hops::new(100, 100, 2, 10));
        let (first, second) = (hops.enter(at(1), secs(0)), hops.enter(at(1), secs(0)));
        assert!(first.is_some() && second.is_some());
        assert!(hops.enter(at(1), secs(0)).is_none());
        drop(first);
        let mut third = hops.enter(at(1), secs(0)).unwrap();
        assert!(hops.enter(at(1), secs(0)).is_none());
        third.count(false);
        assert!(hops.enter(at(1), secs(0)).is_some(), "a held pull does not count");
        third.count(true);
        drop((second, third));
        assert_eq!(hops.table().buckets[&Some(at(1))].open, 0);
    }

    #[test]
    fn one_network_of_64_bits_is_one_address() {
        let hops = Arc::new(Hops::new(1, 1, 100, 10));
        assert!(hops.enter("2001:db8:0:1::1".parse().unwrap(), secs(0)).is_some());
        assert!(hops.enter("2001:db8:0:1:ffff::2".parse().unwrap(), secs(0)).is_none());
        assert!(hops.enter("2001:db8:0:2::1".parse().unwrap(), secs(0)).is_some());
        assert!(hops.enter("::ffff:10.0.0.1".parse().unwrap(), secs(0)).is_some());
        assert!(
            hops.enter("10.0.0.1".parse().unwrap(), secs(0)).is_none(),
            "the mapped form is the same address"
        );
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_waiting() {
        let hops = Arc::new(Hops::new(1, 1, 100, 8));
        for n in 0..8 {
            assert!(hops.enter(at(n), secs(0)).is_some());
        }
        assert!(hops.enter(at(100), secs(0)).is_some(), "the shared bucket");
        assert!(hops.enter(at(101), secs(0)).is_none(), "is shared");
        assert!(hops.enter(at(3), secs(0)).is_none(), "a spent bucket is not forgotten");
        assert_eq!(hops.table.lock().unwrap().buckets.len(), 9);
        assert!(hops.enter(at(200), secs(5)).is_some(), "full buckets make room");
        assert!(hops.table.lock().unwrap().buckets.len() <= 9);
    }
}
