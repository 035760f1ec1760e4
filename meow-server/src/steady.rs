//! The relay's own time: it passes at an even pace, whatever the clock on the wall does.
//!
//! Expiry and the lives of keys hang on it. A wall clock that jumps by more than an hour is believed only
//! after it has stood by it for a day; until then time goes on from where it was. So a wrong clock that
//! somebody sets right again neither deletes mail nor forgets keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Wall times before this (2025-01-01) come from a clock that was never set.
const EARLIEST: u64 = 1_735_689_600;
/// Differences up to this are followed at once, in seconds.
const TOLERANCE: u64 = 3600;
/// How long a jump must last before it is believed.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Even time in Unix seconds.
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The time at `at`.
    base: u64,
    at: Duration,
    /// Since when the wall clock is somewhere else.
    astray: Option<Duration>,
}

impl SteadyTime {
    /// Starts from the wall clock, unless that is behind `seen`, a time that this server knows has passed.
    pub(crate) fn new(clock: Arc<dyn Clock>, seen: u64) -> Self {
        let (wall, at) = (clock.unix_secs(), clock.elapsed());
        let base = if wall.saturating_add(TOLERANCE) < seen { seen } else { wall };
        Self { clock, state: Mutex::new(State { base, at, astray: None }) }
    }

    /// The even time, for expiry and the lives of keys.
    pub(crate) fn now(&self) -> u64 {
        let (wall, elapsed) = (self.clock.unix_secs(), self.clock.elapsed());
        // Each branch below leaves the state whole, so a poisoned lock is as good as any.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let paced = state.base.saturating_add(elapsed.saturating_sub(state.at).as_secs());
        if wall < EARLIEST {
            return paced;
        }
        if wall.abs_diff(paced) > TOLERANCE {
            let since = *state.astray.get_or_insert(elapsed);
            if elapsed.saturating_sub(since) < PATIENCE {
                return paced;
            }
        }
        *state = State { base: wall, at: elapsed, astray: None };
        wall
    }

    /// The time to tell others: the wall clock's if it was ever set, the even time otherwise.
    pub(crate) fn shown(&self) -> u64 {
        let wall = self.clock.unix_secs();
        if wall < EARLIEST { self.now() } else { wall }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;

    const T: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 3600;

    #[derive(Default)]
    struct Hands {
        wall: AtomicU64,
        elapsed: AtomicU64,
    }
    impl Hands {
        fn at(wall: u64) -> Arc<Self> {
            Arc::new(Self { wall: wall.into(), elapsed: 0.into() })
        }
        fn pass(&self, secs: u64) {
            self.wall.fetch_add(secs, SeqCst);
            self.elapsed.fetch_add(secs, SeqCst);
        }
    }
    impl Clock for Hands {
        fn unix_secs(&self) -> u64 {
            self.wall.load(SeqCst)
        }
        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.elapsed.load(SeqCst))
        }
    }

    #[test]
    fn a50_a_jump_is_believed_after_a_day_and_not_before() {
        for jumped in [T + 2 * DAY, T - 2 * DAY, T + 400 * DAY] {
            let hands = Hands::at(T);
            let time = SteadyTime::new(hands.clone(), 0);
            hands.wall.store(jumped, SeqCst);
            for hour in 0..24 {
                assert_eq!(time.now(), T + hour * 3600);
                assert_eq!(time.shown(), jumped + hour * 3600);
                hands.pass(3600);
            }
            assert_eq!(time.now(), jumped + DAY);
        }
    }

    #[test]
    fn a50_a_jump_that_is_undone_leaves_no_trace() {
        let hands = Hands::at(T);
        let time = SteadyTime::new(hands.clone(), 0);
        hands.wall.store(T + 90 * DAY, SeqCst);
        assert_eq!(time.now(), T);
        hands.pass(23 * 3600);
        assert_eq!(time.now(), T + 23 * 3600);
        hands.wall.store(T + 23 * 3600 + 5, SeqCst);
        assert_eq!(time.now(), T + 23 * 3600 + 5, "small corrections are followed at once");
        hands.wall.store(T + 90 * DAY, SeqCst);
        hands.pass(7200);
        assert_eq!(time.now(), T + 25 * 3600 + 5, "the day starts anew");
    }

    #[test]
    fn a50_a_clock_that_was_never_set_runs_on_from_what_was_seen() {
        let hands = Hands::at(17);
        let time = SteadyTime::new(hands.clone(), T);
        hands.pass(3 * DAY);
        assert_eq!(time.now(), T + 3 * DAY);
        assert_eq!(time.shown(), T + 3 * DAY);
        hands.wall.store(T + 3 * DAY + 60, SeqCst);
        assert_eq!(time.now(), T + 3 * DAY + 60);
    }

    #[test]
    fn a_restart_believes_a_later_clock_and_not_an_earlier_one() {
        assert_eq!(SteadyTime::new(Hands::at(T + 7 * DAY), T).now(), T + 7 * DAY, "it was switched off");
        assert_eq!(SteadyTime::new(Hands::at(T - DAY), T).now(), T);
    }
}
