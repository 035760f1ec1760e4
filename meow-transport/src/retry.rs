//! Connecting again after failures that may pass.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};
use meow_core::{Error, ErrorKind, Result, Retry};
use rand_core::TryRng;

/// Tries to connect several times, with growing, jittered pauses.
///
/// Only `connect` is tried again: what happens on an open link is for its user to judge. An error whose
/// [`retry`](Error::retry) says never ends the trying at once. The pause before attempt *n* is drawn evenly from
/// zero to `first` x 2^(n-2), so that clients of one failed server do not come back in step; a pause that the error
/// itself asks for is kept as a lower bound. No pause is longer than `longest`.
pub struct WithRetry<T, R> {
    inner: T,
    rng: Mutex<R>,
    attempts: u32,
    first: Duration,
    longest: Duration,
}

impl<T: Transport, R: TryRng + Send + 'static> WithRetry<T, R> {
    /// Wraps a transport: 4 attempts, pauses from 250 ms up to 10 s. `rng` draws the jitter; it need not be
    /// cryptographic.
    pub fn new(inner: T, rng: R) -> Self {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(10));
        Self { inner, rng: Mutex::new(rng), attempts: 4, first, longest }
    }

    /// How often connecting is tried in all. Zero counts as one.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The scale of the first pause, and the longest pause.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// The pause after the failed attempt of this number (from 1).
    fn pause(&self, failed: u32, asked: Retry) -> Result<Duration> {
        let draw = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.try_next_u32().map_err(|e| {
                let text = format!("the source of randomness failed: {e}");
                Error::new(ErrorKind::System, text)
            })?
        };
        let scale = self.first.saturating_mul(1u32.checked_shl(failed - 1).unwrap_or(u32::MAX));
        let jittered = scale.min(self.longest).mul_f64(f64::from(draw) / f64::from(u32::MAX));
        let asked = match asked {
            Retry::After(seconds) => Duration::from_secs(seconds.into()),
            Retry::Now | Retry::Never => Duration::ZERO,
        };
        Ok(jittered.max(asked).min(self.longest))
    }
}

impl<T: Transport, R: TryRng + Send + 'static> Transport for WithRetry<T, R> {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.inner.estimate(endpoint)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let mut attempt = 1;
        loop {
            let error = match self.inner.connect(endpoint).await {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            if attempt >= self.attempts || error.retry() == Retry::Never {
                return Err(error);
            }
            let pause = self.pause(attempt, error.retry())?;
            tracing::debug!(attempt, kind = error.kind().name(), ?pause, "connecting failed; trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Once: the far side does not know of a second try.
    async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        self.inner.connect_through(endpoint).await
    }

    /// Once: more would not be sparing.
    async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        self.inner.connect_sparingly(endpoint).await
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.inner.listen(endpoint).await
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{FaultInjection, Faults, Memory};
    use std::convert::Infallible;
    use tokio::time::Instant;

    /// Always the largest number: every pause is as long as it can be.
    pub(crate) struct Most;
    impl TryRng for Most {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::MAX)
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::MAX)
        }
        fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
            dst.fill(u8::MAX);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_the_longest_and_attempts_are_bounded() {
        let refusing = FaultInjection::new(Memory::new(), Faults { refuse: 1000, ..Faults::seeded(1) });
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(3));
        let transport = WithRetry::new(refusing, Most).attempts(5).pauses(first, longest);
        let start = Instant::now();
        let e = transport.connect(&"memory://x".parse().unwrap()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unreachable);
        // 1 + 2 + 3 + 3 s of virtual time.
        assert_eq!(start.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_error_is_not_tried_again() {
        let transport = WithRetry::new(Memory::new(), Most);
        let start = Instant::now();
        let e = transport.connect(&"memory://x/path".parse().unwrap()).await.unwrap_err();
        assert_eq!((e.kind(), start.elapsed()), (ErrorKind::Usage, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_comes_late_is_reached() {
        let memory = Memory::new();
        let transport = WithRetry::new(memory.clone(), Most);
        let endpoint: Endpoint = "memory://late".parse().unwrap();
        let late = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            memory.listen(&endpoint).await.unwrap()
        };
        let (link, _listener) = tokio::join!(transport.connect(&endpoint), late);
        link.unwrap();
    }
}
