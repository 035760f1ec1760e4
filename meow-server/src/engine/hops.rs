//! What each source may ask: a token bucket and a count of open requests, in a bounded table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::transport::{Network, Tally};

use super::Source;

/// A site of addresses has so many buckets at most: one in so many of all, and no more than it leaves to others.
const SITES: usize = 16;

/// Whose requests share a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    One(Source),
    /// The addresses of a site that has as many buckets as it may.
    Site(Network),
    /// The addresses that the table has no room for.
    Others,
}

/// What one source may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Units in a second.
    pub(crate) rate: u32,
    /// Units that it may save up.
    pub(crate) burst: u32,
    /// Requests worked on at once.
    pub(crate) open: u32,
}

/// What sources of each kind may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// An address.
    pub(crate) address: Share,
    /// All links of a listener that knows no addresses.
    pub(crate) listener: Share,
    /// A server of the catalog.
    pub(crate) server: Share,
    /// Addresses that are told apart.
    pub(crate) addresses: usize,
}

#[derive(Debug)]
struct Bucket {
    /// In millionths of a unit.
    units: u64,
    at: Duration,
    open: u32,
}

/// The table of sources. It stays small: so many addresses and sites, the shared bucket, the listeners, the servers of the catalog.
/// Time is handed in: a monotonic reading.
#[derive(Debug)]
pub(crate) struct Hops {
    shares: Shares,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<Key, Bucket>,
    /// Buckets of addresses, by site.
    sites: Tally,
    /// When full buckets were last taken out. Looking through the table for each stranger would be dear.
    swept: Duration,
}

/// How long a full table stays unsearched.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

const MILLION: u64 = 1_000_000;

impl Hops {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, table: Mutex::default() }
    }

    fn share(&self, key: &Key) -> &Share {
        match key {
            Key::One(Source::Listener(_)) => &self.shares.listener,
            Key::One(Source::Server(_) | Source::Servers(_)) => &self.shares.server,
            Key::One(Source::Address(_) | Source::Here) | Key::Site(_) | Key::Others => &self.shares.address,
        }
    }

    /// Takes one unit, and counts the request as open while the value lives. `None` when the source has to wait.
    pub(crate) fn enter(self: &Arc<Self>, source: Source, now: Duration) -> Option<Hop> {
        let mut table = self.table();
        let key = self.key(&mut table, source, now);
        let share = self.share(&key);
        if let (Key::One(Source::Address(network)), false) = (key, table.buckets.contains_key(&key)) {
            table.sites.add(network, 1);
        }
        let bucket = table.buckets.entry(key).or_insert(Bucket { units: full(share), at: now, open: 0 });
        take(share, bucket, 1, now).then_some(())?;
        if bucket.open >= share.open {
            return None;
        }
        bucket.open += 1;
        Some(Hop { hops: Arc::clone(self), key, counted: true })
    }

    /// Whose bucket this source takes from.
    fn key(&self, table: &mut Table, source: Source, now: Duration) -> Key {
        let one = Key::One(source);
        let Source::Address(network) = source else { return one };
        if table.buckets.contains_key(&one) {
            return one;
        }
        let may = |table: &Table| {
            let free = self.shares.addresses.saturating_sub(table.buckets.len());
            let site = table.sites.of(network.site());
            (free > 0, site < free && site < self.shares.addresses.div_ceil(SITES))
        };
        if may(table) != (true, true) && now.saturating_sub(table.swept) >= SWEEP_EVERY {
            self.sweep(table, now);
        }
        let site = Key::Site(network.site());
        match may(table) {
            (true, true) => one,
            (room, _) if room || table.buckets.contains_key(&site) => site,
            _ => Key::Others,
        }
    }

    /// Takes buckets out that are full again.
    fn sweep(&self, table: &mut Table, now: Duration) {
        let Table { buckets, sites, swept } = table;
        *swept = now;
        buckets.retain(|key, bucket| {
            let keep = bucket.open > 0 || !self.is_full(key, bucket, now);
            if let (Key::One(Source::Address(network)), false) = (key, keep) {
                sites.remove(*network, 1);
            }
            keep
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is whole, so a poisoned lock is as good as any.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, key: &Key, bucket: &Bucket, now: Duration) -> bool {
        let share = self.share(key);
        refilled(share, bucket, now) >= full(share)
    }
}

/// What a bucket holds at most, in millionths of a unit.
fn full(share: &Share) -> u64 {
    u64::from(share.burst) * MILLION
}

fn refilled(share: &Share, bucket: &Bucket, now: Duration) -> u64 {
    let passed = now.saturating_sub(bucket.at).as_micros().min(u64::MAX.into()) as u64;
    bucket.units.saturating_add(passed.saturating_mul(share.rate.into())).min(full(share))
}

fn take(share: &Share, bucket: &mut Bucket, units: u32, now: Duration) -> bool {
    bucket.units = refilled(share, bucket, now);
    bucket.at = now;
    match bucket.units.checked_sub(u64::from(units) * MILLION) {
        Some(left) => {
            bucket.units = left;
            true
        }
        None => false,
    }
}

/// One open request of a source.
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
        let share = self.hops.share(&self.key);
        table.buckets.get_mut(&self.key).is_some_and(|bucket| take(share, bucket, units, now))
    }

    /// Counts this request as open, or not, while it only waits.
    pub(crate) fn count(&mut self, counted: bool) {
        if self.counted == counted {
            return;
        }
        self.counted = counted;
        // Full buckets may have been taken out meanwhile; then nothing of this source is counted any more.
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
    use std::net::IpAddr;

    use super::*;

    /// Each of another site.
    fn at(n: u32) -> Source {
        IpAddr::V4((n << 8).into()).into()
    }

    fn from(address: &str) -> Source {
        address.parse::<IpAddr>().unwrap().into()
    }

    /// So much for an address, ten times as much for a listener, a hundred times for a server.
    fn hops(rate: u32, burst: u32, open: u32, addresses: usize) -> Arc<Hops> {
        let times = |n: u32| Share { rate: n * rate, burst: n * burst, open: n * open };
        Arc::new(Hops::new(Shares { address: times(1), listener: times(10), server: times(100), addresses }))
    }

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_address_spends_its_burst_and_then_its_rate() {
        let hops = hops(2, 5, 100, 10);
        let spend = |now| (0..20).filter(|_| hops.enter(at(1), now).is_some()).count();
        assert_eq!(spend(secs(0)), 5);
        assert_eq!(spend(secs(0)), 0);
        assert_eq!(spend(secs(1)), 2);
        assert_eq!(spend(secs(100)), 5);
        assert!(hops.enter(at(2), secs(100)).is_some(), "another address has its own");
    }

    #[test]
    fn a_dear_request_takes_more() {
        let hops = hops(1, 10, 100, 10);
        let hop = hops.enter(at(1), secs(0)).unwrap();
        assert!(hop.charge(9, secs(0)));
        assert!(!hop.charge(1, secs(0)));
        assert!(hop.charge(1, secs(1)));
    }

    #[test]
    fn open_requests_are_counted_until_they_end() {
        let hops = hops(100, 100, 2, 10);
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
        assert_eq!(hops.table().buckets[&Key::One(at(1))].open, 0);
    }

    #[test]
    fn one_network_of_64_bits_is_one_address() {
        let hops = hops(1, 1, 100, 10);
        assert!(hops.enter(from("2001:db8:0:1::1"), secs(0)).is_some());
        assert!(hops.enter(from("2001:db8:0:1:ffff::2"), secs(0)).is_none());
        assert!(hops.enter(from("2001:db8:0:2::1"), secs(0)).is_some());
        assert!(hops.enter(from("::ffff:10.0.0.1"), secs(0)).is_some());
        assert!(hops.enter(from("10.0.0.1"), secs(0)).is_none(), "the mapped form is the same address");
    }

    #[test]
    fn a22_a_server_of_the_catalog_and_a_listener_without_addresses_have_larger_shares_with_bounds() {
        let hops = hops(1, 10, 100, 1);
        let spend = |source, now| (0..5000).filter(|_| hops.enter(source, now).is_some()).count();
        let all = [at(1), Source::Listener(0), Source::Listener(1), Source::Server(0)];
        assert_eq!(all.map(|source| spend(source, secs(0))), [10, 100, 100, 1000]);
        assert_eq!(all.map(|source| spend(source, secs(2))), [2, 20, 20, 200]);
        // They have their own where the table is full of addresses, and take no place of an address.
        assert_eq!(spend(Source::Server(1), secs(2)), 1000);
        assert_eq!((spend(at(2), secs(2)), spend(at(3), secs(2))), (10, 0), "those share one");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_waiting() {
        let hops = hops(1, 1, 100, 8);
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

    /// Attack 20, of addresses that are real: who has an IPv6 network of 48 bits has 65,536 of 64.
    #[test]
    fn a20_a_network_of_48_bits_has_a_sixteenth_of_the_rates_and_one_more_for_all_the_rest() {
        let hops = hops(1, 5, 100, 1600);
        let flood = |site: u16, now| {
            (0..2000u16)
                .map(|n| Source::from(IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1])))
                .map(|source| (0..10).filter(|_| hops.enter(source, now).is_some()).count())
                .sum::<usize>()
        };
        assert_eq!(flood(1, secs(0)), 101 * 5);
        assert_eq!(hops.table().buckets.len(), 101);
        // Others have their own rate all the same, those of 24 bits of IPv4 too.
        for n in 0..=255u8 {
            let source = Source::from(IpAddr::from([192, 0, 2, n]));
            assert_eq!(hops.enter(source, secs(0)).is_some(), n < 105, "{n}");
        }
        for site in 2..18 {
            flood(site, secs(0));
        }
        assert!(hops.table().buckets.len() <= 1601);
        assert!((0..5).all(|_| hops.enter(at(7), secs(0)).is_some()), "who has none yet finds one");
        // What is full again makes room, and counts for no site.
        assert_eq!(flood(1, secs(60)), 101 * 5);
        assert_eq!(hops.table().sites.of(Network::of([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0].into()).site()), 100);
    }
}
