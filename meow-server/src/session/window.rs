//! Which counters of a session were used, and for what.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Mutex;

/// How far a counter may be ahead of the highest that was used.
pub(crate) const AHEAD: u64 = 32;
/// How far behind it a counter may be.
const BEHIND: u64 = 32;

/// Recognises a packet.
pub(crate) type Digest = [u8; 16];

/// One counted effect: whoever repeats the request waits for the first to have it, and sees here that it had.
pub(crate) type Turn = Arc<Mutex<bool>>;

/// What a counter was used for before.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nothing.
    New(Turn),
    /// The same packet.
    Again(Turn),
    /// Another packet; with the highest counter that was used.
    Other(u64),
}

/// The counters that a session accepts: `low` and up, below `high`.
#[derive(Debug)]
pub(super) struct Window {
    low: u64,
    high: u64,
    used: BTreeMap<u64, (Digest, Turn)>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { low: 0, high: AHEAD, used: BTreeMap::new() }
    }

    pub(super) fn accepted(&self) -> Range<u64> {
        self.low..self.high
    }

    /// Uses a counter that is accepted, and moves the window on.
    pub(super) fn note(&mut self, counter: u64, digest: Digest) -> Seen {
        let seen = match self.used.get(&counter) {
            Some((same, turn)) if *same == digest => Seen::Again(Arc::clone(turn)),
            Some(_) => Seen::Other(self.used.keys().next_back().copied().unwrap_or(counter)),
            None => {
                let turn = Turn::default();
                self.used.insert(counter, (digest, Arc::clone(&turn)));
                Seen::New(turn)
            }
        };
        self.high = self.high.max(counter.saturating_add(AHEAD + 1));
        self.low = self.low.max(counter.saturating_sub(BEHIND));
        while let Some(oldest) = self.used.first_entry().filter(|oldest| *oldest.key() < self.low) {
            oldest.remove();
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves_with_the_highest_counter_and_keeps_a_bounded_past() {
        let mut window = Window::new();
        assert_eq!(window.accepted(), 0..32);
        assert!(matches!(window.note(5, [1; 16]), Seen::New(_)));
        assert!(matches!(window.note(5, [1; 16]), Seen::Again(_)));
        assert!(matches!(window.note(5, [2; 16]), Seen::Other(5)));
        assert_eq!(window.accepted(), 0..38);
        assert!(matches!(window.note(37, [3; 16]), Seen::New(_)));
        assert_eq!(window.accepted(), 5..70);
        assert!(matches!(window.note(5, [2; 16]), Seen::Other(37)));
        for counter in 38..1000 {
            window.note(counter, [4; 16]);
            assert!(window.used.len() <= 33);
        }
        assert_eq!(window.accepted(), 967..1032);
        window.note(u64::MAX, [5; 16]);
        assert_eq!(window.accepted().end, u64::MAX);
    }
}
