//! What a server spends on strangers: bytes that lie unread, links and hellos in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

/// Bytes that lie unread on all links of a listener.
pub(crate) struct Unread {
    most: usize,
    taken: AtomicUsize,
}

impl Unread {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    /// Whether there is room.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let after = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, after).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Room that is given back when it is dropped, if there is any.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        self.take(bytes).then(|| Room { of: Arc::clone(self), bytes })
    }
}

/// A part of what may lie unread.
pub(crate) struct Room {
    of: Arc<Unread>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.give_back(self.bytes);
    }
}

/// A token bucket.
pub(crate) struct Rate {
    per_second: f64,
    most: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    /// So many in a second, and `burst` seconds' worth at once.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let most = f64::from(per_second) * f64::from(burst);
        Self { per_second: per_second.into(), most, left: most, at: now }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.left = (self.left + (now - self.at).as_secs_f64() * self.per_second).min(self.most);
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_and_room_come_back() {
        let start = Instant::now();
        let mut rate = Rate::new(2, 2, start);
        assert_eq!((0..9).filter(|_| rate.take(start)).count(), 4);
        assert_eq!((0..9).filter(|_| rate.take(start + Duration::from_secs(1))).count(), 2);
        let unread = Arc::new(Unread::new(10));
        assert!(unread.take(10) && !unread.take(1));
        unread.give_back(4);
        assert!(unread.take(4) && !unread.take(1));
        unread.give_back(10);
        let room = unread.hold(10);
        assert!(room.is_some() && unread.hold(1).is_none());
        drop(room);
        assert!(unread.hold(10).is_some());
    }
}
