//! The relay's own time, by which mail expires and keys turn. It goes on evenly, whatever the clock on the wall does.
//!
//! Where the wall clock is ahead, this time runs twice as fast until it has caught up: so a clock that is wrong for
//! a while, or a long time switched off, takes at most half of its life from mail. Where the wall clock is behind,
//! it is believed when it has stood by it for a day; mail then lives longer, never shorter.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Wall times before this (2025-01-01) come from a clock that was never set.
const EARLIEST: u64 = 1_735_689_600;
/// Differences up to this are followed at once.
const TOLERANCE: Duration = Duration::from_secs(3600);
/// How long a clock must be behind before it is believed.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Even time in Unix seconds.
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The time at `at`.
    time: Duration,
    at: Duration,
    /// Since when the wall clock is behind.
    behind: Option<Duration>,
}

impl SteadyTime {
    /// Goes on from `seen`, the newest time that this server knows has passed; where there is none (0), starts with
    /// the wall clock.
    pub(crate) fn new(clock: Arc<dyn Clock>, seen: u64) -> Self {
        let start = if seen == 0 { clock.unix_secs().max(EARLIEST) } else { seen };
        let state = State { time: Duration::from_secs(start), at: clock.elapsed(), behind: None };
        Self { clock, state: Mutex::new(state) }
    }

    /// The even time, for expiry and the lives of keys.
    pub(crate) fn now(&self) -> u64 {
        let (wall, elapsed) = (self.clock.unix_secs(), self.clock.elapsed());
        // Nothing below can panic between two changes of the state.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = elapsed.saturating_sub(state.at);
        let paced = state.time.saturating_add(passed);
        let (wall, set) = (Duration::from_secs(wall), wall >= EARLIEST);
        let (time, behind) = if set && wall > paced.saturating_add(TOLERANCE) {
            (paced.saturating_add(passed).min(wall), None)
        } else if set && wall.saturating_add(TOLERANCE) < paced {
            let since = state.behind.unwrap_or(elapsed);
            if elapsed.saturating_sub(since) < PATIENCE { (paced, Some(since)) } else { (wall, None) }
        } else if set {
            (wall, None)
        } else {
            (paced, state.behind)
        };
        *state = State { time, at: elapsed, behind };
        time.as_secs()
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
    fn a50_a_clock_that_jumps_ahead_is_caught_up_with_at_double_speed() {
        let hands = Hands::at(T);
        let time = SteadyTime::new(hands.clone(), 0);
        hands.wall.store(T + 2 * DAY, SeqCst);
        for hour in 0..48 {
            assert_eq!(time.now(), T + 2 * hour * 3600);
            assert_eq!(time.shown(), T + 2 * DAY + hour * 3600);
            hands.pass(3600);
        }
        assert_eq!(time.now(), T + 4 * DAY, "as late as the wall clock, and then with it");
        hands.pass(3600);
        assert_eq!(time.now(), T + 4 * DAY + 3600);
    }

    #[test]
    fn a50_a_clock_that_jumps_back_is_believed_after_a_day() {
        let hands = Hands::at(T);
        let time = SteadyTime::new(hands.clone(), 0);
        hands.wall.store(T - 2 * DAY, SeqCst);
        for hour in 0..24 {
            assert_eq!(time.now(), T + hour * 3600);
            hands.pass(3600);
        }
        assert_eq!(time.now(), T - DAY);
    }

    #[test]
    fn a50_a_jump_that_is_undone_leaves_no_trace() {
        let hands = Hands::at(T);
        let time = SteadyTime::new(hands.clone(), 0);
        for jump in [90 * DAY, DAY] {
            let before = hands.unix_secs();
            hands.wall.store(before + jump, SeqCst);
            assert_eq!(time.now(), before);
            hands.pass(1800);
            assert_eq!(time.now(), before + 3600, "half an hour more");
            hands.wall.store(before + 1800, SeqCst);
            assert_eq!(time.now(), before + 1800);
            hands.wall.store(before - jump, SeqCst);
            hands.pass(23 * 3600);
            assert_eq!(time.now(), before + 1800 + 23 * 3600);
            hands.wall.store(before + 1800 + 23 * 3600, SeqCst);
            assert_eq!(time.now(), before + 1800 + 23 * 3600);
        }
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
        assert_eq!(SteadyTime::new(Hands::at(17), 0).now(), EARLIEST);
    }

    #[test]
    fn parts_of_a_second_are_not_lost() {
        struct Tenths(AtomicU64);
        impl Clock for Tenths {
            fn unix_secs(&self) -> u64 {
                0
            }
            fn elapsed(&self) -> Duration {
                Duration::from_millis(100 * self.0.fetch_add(1, SeqCst))
            }
        }
        let time = SteadyTime::new(Arc::new(Tenths(0.into())), T);
        let last = (0..1000).map(|_| time.now()).last();
        assert_eq!(last, Some(T + 100));
    }

    #[test]
    fn a_restart_goes_on_from_what_was_seen() {
        let hands = Hands::at(T + 7 * DAY);
        let time = SteadyTime::new(hands.clone(), T);
        assert_eq!(time.now(), T, "it was switched off, or the clock is wrong: nothing is deleted in haste");
        hands.pass(7 * DAY);
        assert_eq!(time.now(), T + 14 * DAY);
        assert_eq!(SteadyTime::new(Hands::at(T - DAY), T).now(), T);
    }
}
