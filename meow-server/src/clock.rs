//! The clock is passed in, so that tests own time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time of day and how much time has passed.
pub trait Clock: Send + Sync + 'static {
    /// Unix time in seconds. May be wrong and may jump either way; nothing is lost when it does.
    fn unix_secs(&self) -> u64;

    /// Time since a fixed moment. Never runs backwards.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`elapsed`](Clock::elapsed) starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_secs(&self) -> u64 {
        // A clock before 1970 reads as 1970, which counts as not set.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
