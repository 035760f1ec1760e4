//! How much may wait: in all, and of one source. Packets are counted in bytes, links that wait one by one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::source_key;

/// The budget of what waits here.
#[derive(Debug)]
pub(crate) struct Budget {
    all: usize,
    per_source: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    /// `None` stands for links that know no address.
    sources: HashMap<Option<IpAddr>, usize>,
}

impl Budget {
    pub(crate) fn new(all: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { all, per_source, used: Mutex::default() })
    }

    /// Room for so much, as long as the value lives. Sources are told apart as they are for their rates. None has more than
    /// there was left when it asked: so a few together do not take everything, and one that has nothing yet finds room.
    pub(crate) fn take(self: &Arc<Self>, source: Option<IpAddr>, amount: usize) -> Option<Room> {
        let source = source.map(source_key);
        let mut used = self.used();
        let own = used.sources.get(&source).copied().unwrap_or_default();
        let left = self.all.saturating_sub(used.all);
        if amount > self.per_source.min(left).saturating_sub(own) {
            return None;
        }
        used.all += amount;
        used.sources.insert(source, own + amount);
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
    source: Option<IpAddr>,
    amount: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.all = used.all.saturating_sub(self.amount);
        if let Some(own) = used.sources.get_mut(&self.source) {
            *own = own.saturating_sub(self.amount);
            if *own == 0 {
                used.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_what_waits_is_bounded_in_all_and_for_each_source() {
        let budget = Budget::new(6 * 2048, 3 * 2048);
        let (a, b) = (Some("10.0.0.1".parse().unwrap()), Some("10.0.0.2".parse().unwrap()));
        let mapped = Some("::ffff:10.0.0.1".parse().unwrap());
        let mut rooms: Vec<_> = (0..3).map(|_| budget.take(a, 2048).unwrap()).collect();
        assert!(budget.take(a, 2048).is_none() && budget.take(mapped, 2048).is_none(), "one source");
        let others = [budget.take(b, 2048).unwrap(), budget.take(None, 2048).unwrap()];
        assert!(budget.take(None, 2048).is_none() && budget.take(b, 2048).is_none(), "as much as was left");
        rooms.pop();
        assert!(budget.take(None, 2048).is_some());
        drop((rooms, others));
        assert!(budget.used().sources.is_empty() && budget.used().all == 0);
    }

    #[test]
    fn a22_a_few_sources_do_not_take_all_the_links_that_are_held() {
        let budget = Budget::new(2048, 512);
        let from = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let mut rooms = Vec::new();
        let mut took = Vec::new();
        for source in 1..=8 {
            let before = rooms.len();
            rooms.extend(std::iter::from_fn(|| budget.take(from(source), 1)));
            took.push(rooms.len() - before);
        }
        assert_eq!(took, [512, 512, 512, 256, 128, 64, 32, 16]);
        assert!(budget.take(from(9), 1).is_some(), "who has nothing yet finds room");
    }

    #[test]
    fn a22_neither_large_packets_nor_many_addresses_of_one_network_go_around_the_bound() {
        let budget = Budget::new(1 << 20, 10 * 2048);
        assert!(budget.take(Some("10.0.0.1".parse().unwrap()), 33_792).is_none());
        let rooms: Vec<_> =
            (0..20).filter_map(|n| budget.take(format!("2001:db8::{n:x}").parse().ok(), 2048)).collect();
        assert_eq!(rooms.len(), 10);
        assert!(budget.take("2001:db8:0:1::1".parse().ok(), 2048).is_some(), "another network");
    }
}
