//! What a listener keeps of frames that are not complete. Whoever opens links is not known yet, so all of it is bounded: what
//! one connection takes beyond its share comes from a pool that all of them have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each connection may keep whatever others do: the largest frame twice, about.
const SHARE: usize = 64 * 1024;

/// Bytes for all connections of a listener together, beyond the share of each.
pub(crate) struct Pool {
    most: usize,
    taken: AtomicUsize,
}

impl Pool {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0) })
    }

    fn take(&self, bytes: usize) -> bool {
        let after = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, after).is_ok()
    }
}

/// What all links of one connection keep.
pub(crate) struct Kept {
    pool: Arc<Pool>,
    bytes: std::sync::Mutex<usize>,
}

impl Kept {
    pub(crate) fn new(pool: &Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool: Arc::clone(pool), bytes: std::sync::Mutex::new(0) })
    }

    /// One link keeps `now` bytes where it kept `before`. False when there is no room; then nothing has changed.
    fn change(&self, before: usize, now: usize) -> bool {
        let mut bytes = self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let beyond = |bytes: usize| bytes.saturating_sub(SHARE);
        let after = *bytes - before + now;
        let (old, new) = (beyond(*bytes), beyond(after));
        if new > old && !self.pool.take(new - old) {
            return false;
        }
        if old > new {
            self.pool.taken.fetch_sub(old - new, Ordering::AcqRel);
        }
        *bytes = after;
        true
    }
}

/// What one link keeps. A side that dials chose whom it speaks to, and counts nothing.
pub(crate) struct Room {
    of: Option<Arc<Kept>>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(of: Option<Arc<Kept>>) -> Self {
        Self { of, bytes: 0 }
    }

    /// The link keeps so many bytes now. False when there is no room.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let room = bytes == self.bytes || self.of.as_ref().is_none_or(|kept| kept.change(self.bytes, bytes));
        if room {
            self.bytes = bytes;
        }
        room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Less always fits.
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_share_and_the_rest_is_in_common() {
        let pool = Pool::new(100);
        let (greedy, modest) = (Kept::new(&pool), Kept::new(&pool));
        let mut one = Room::new(Some(Arc::clone(&greedy)));
        let mut two = Room::new(Some(Arc::clone(&greedy)));
        assert!(one.set(SHARE) && two.set(100) && !two.set(101) && !one.set(SHARE + 1));
        let mut other = Room::new(Some(Arc::clone(&modest)));
        assert!(other.set(SHARE) && !other.set(SHARE + 1), "nothing is left but the share");
        drop(one);
        assert!(other.set(SHARE + 100) && !other.set(SHARE + 101));
        assert!(two.set(SHARE) && !two.set(SHARE + 1) && two.set(0));
        drop((two, other));
        assert_eq!(pool.taken.load(Ordering::Acquire), 0);
        assert!(Room::new(None).set(usize::MAX));
    }
}
