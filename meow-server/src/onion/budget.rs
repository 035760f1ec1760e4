//! How much may wait: in all, and of one source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The budget of packets that wait here.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    per_source: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    /// `None` stands for links that know no address.
    sources: HashMap<Option<IpAddr>, usize>,
}

impl Budget {
    pub(crate) fn new(bytes: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { bytes, per_source, used: Mutex::default() })
    }

    /// Room for one packet, as long as the value lives.
    pub(crate) fn take(self: &Arc<Self>, source: Option<IpAddr>, bytes: usize) -> Option<Room> {
        let source = source.map(|address| address.to_canonical());
        let mut used = self.used();
        let packets = used.sources.get(&source).copied().unwrap_or_default();
        if packets >= self.per_source || bytes > self.bytes.saturating_sub(used.bytes) {
            return None;
        }
        used.bytes += bytes;
        used.sources.insert(source, packets + 1);
        Some(Room { budget: Arc::clone(self), source, bytes })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Every change is whole.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that one packet takes.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    source: Option<IpAddr>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.bytes = used.bytes.saturating_sub(self.bytes);
        if let Some(packets) = used.sources.get_mut(&self.source) {
            *packets = packets.saturating_sub(1);
            if *packets == 0 {
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
        let budget = Budget::new(10_000, 3);
        let (a, b) = (Some("10.0.0.1".parse().unwrap()), Some("10.0.0.2".parse().unwrap()));
        let mapped = Some("::ffff:10.0.0.1".parse().unwrap());
        let mut rooms: Vec<_> = (0..3).map(|_| budget.take(a, 2048).unwrap()).collect();
        assert!(budget.take(a, 2048).is_none() && budget.take(mapped, 2048).is_none(), "one source");
        let other = budget.take(b, 2048).unwrap();
        assert!(budget.take(None, 2048).is_none(), "in all");
        rooms.pop();
        assert!(budget.take(mapped, 2048).is_some());
        drop((rooms, other));
        assert!(budget.used().sources.is_empty() && budget.used().bytes == 0);
    }
}
