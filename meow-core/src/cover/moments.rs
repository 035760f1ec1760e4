//! The moments at which something leaves.

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, Random};
use crate::policy::Pause;

/// A moment that was not used by so many milliseconds later was missed.
const LATE_MS: u64 = 5_000;
/// No pause is drawn longer than so many means: a moment that is further away belongs to a clock that was set back.
const FURTHEST: u64 = 40;

/// The moments of a Poisson process: pauses are exponential, so how long one has waited says nothing of how long it still
/// takes. Kept in the store, so that all processes on it share one, and none learns from when it was started.
///
/// A moment at which nobody looks is gone: whoever was away, or busy with what the moment before had sent, does not make up
/// for it. As the pauses have no memory, what is drawn then is the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    pause: Pause,
    next_ms: u64,
}

/// What the time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A moment: something leaves, whatever there is.
    Now,
    /// Nothing leaves; look again then, in Unix milliseconds.
    Wait(u64),
}

impl Moments {
    /// Begins now. Times are in Unix milliseconds.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn begin(pause: Pause, now_ms: u64, random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self { pause, next_ms: after(pause, now_ms, random)? })
    }

    /// When to look again.
    pub fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// The mean pause.
    pub fn pause(&self) -> Pause {
        self.pause
    }

    /// Looks at the time, and takes the moment that it finds: the next one is drawn. The state is to be durable before
    /// anything leaves.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]: nothing is changed then.
    pub fn look(&mut self, now_ms: u64, random: &mut dyn Random) -> Result<Look, CryptoError> {
        let furthest = FURTHEST.saturating_mul(mean_ms(self.pause));
        if now_ms < self.next_ms && self.next_ms - now_ms <= furthest {
            return Ok(Look::Wait(self.next_ms));
        }
        let missed = now_ms < self.next_ms || now_ms - self.next_ms > LATE_MS;
        self.next_ms = after(self.pause, now_ms, random)?;
        Ok(if missed { Look::Wait(self.next_ms) } else { Look::Now })
    }

    /// What a moment has sent is through: one that fell meanwhile is gone. True when the state has changed.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]: nothing is changed then.
    pub fn pass(&mut self, now_ms: u64, random: &mut dyn Random) -> Result<bool, CryptoError> {
        if now_ms < self.next_ms {
            return Ok(false);
        }
        self.next_ms = after(self.pause, now_ms, random)?;
        Ok(true)
    }
}

fn mean_ms(pause: Pause) -> u64 {
    u64::try_from(pause.mean().as_millis()).unwrap_or(u64::MAX)
}

/// A moment after now, of an exponential pause.
fn after(pause: Pause, now_ms: u64, random: &mut dyn Random) -> Result<u64, CryptoError> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    // Evenly from 0 to 1, both excluded: the longest pause is 37 means.
    let even = ((u64::from_le_bytes(bytes) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let pause = -even.ln() * pause.mean().as_secs_f64() * 1000.0;
    // At least a millisecond, so that no moment is taken twice.
    Ok(now_ms.saturating_add((pause as u64).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CryptoError, SeededRandom};

    fn pause(secs: u32) -> Pause {
        Pause::from_secs(secs).unwrap()
    }

    /// The moments of a day at which somebody looks who is busy for so long after each.
    fn day(secs: u32, busy_ms: u64, seed: u64) -> Vec<u64> {
        let mut random = SeededRandom::new(seed);
        let (mut moments, mut now) = (Moments::begin(pause(secs), 0, &mut random).unwrap(), 0);
        let mut all = Vec::new();
        while now < 86_400_000 {
            match moments.look(now, &mut random).unwrap() {
                Look::Now => {
                    all.push(now);
                    now += busy_ms;
                    moments.pass(now, &mut random).unwrap();
                }
                Look::Wait(until) => now = until,
            }
        }
        all
    }

    #[test]
    fn pauses_are_exponential() {
        let all = day(60, 0, 1);
        // 1,440 are expected, and their number is within 150 of it in all but one of 10,000 cases.
        assert!((1290..1590).contains(&all.len()), "{}", all.len());
        let pauses: Vec<_> = all.windows(2).map(|two| (two[1] - two[0]) as f64 / 60_000.0).collect();
        let share = |longer: f64| pauses.iter().filter(|p| **p > longer).count() as f64 / pauses.len() as f64;
        for longer in [0.1, 0.5, 1.0, 2.0, 3.0] {
            assert!((share(longer) - (-longer).exp()).abs() < 0.05, "{longer}: {}", share(longer));
        }
        // A pause tells nothing of the next one.
        let (mut both, mut first) = (0.0, 0.0);
        for two in pauses.windows(2) {
            first += f64::from(u8::from(two[0] > 1.0));
            both += f64::from(u8::from(two[0] > 1.0 && two[1] > 1.0));
        }
        assert!((both / first - share(1.0)).abs() < 0.08, "{}", both / first);
    }

    #[test]
    fn who_is_busy_after_each_has_as_many_as_pauses_and_busy_times_fit() {
        for busy in [0, 20_000, 60_000] {
            let (all, expected) =
                (day(60, busy, 2), pause(60).per_day(std::time::Duration::from_millis(busy)));
            let n = all.len() as f64;
            assert!((n - expected).abs() < 4.0 * expected.sqrt(), "{n} {expected}");
            // And none of them comes at once when the busy time is over.
            let soon = all.windows(2).filter(|two| two[1] - two[0] < busy + 600).count();
            assert!(all.windows(2).all(|two| two[1] - two[0] > busy) && soon < all.len() / 30, "{soon}");
            // What comes at any time waits as long as is said.
            let pauses: Vec<_> = all.windows(2).map(|two| (two[1] - two[0]) as f64 / 1000.0).collect();
            let waits =
                pauses.iter().map(|pause| pause * pause / 2.0).sum::<f64>() / pauses.iter().sum::<f64>();
            let said = pause(60).wait(std::time::Duration::from_millis(busy)).as_secs_f64();
            assert!((waits - said).abs() < said / 8.0, "{waits} {said}");
        }
    }

    #[test]
    fn who_was_away_does_not_make_up_for_it() {
        let mut random = SeededRandom::new(3);
        for away_ms in [LATE_MS + 1, 3_600_000, 30 * 86_400_000] {
            let mut moments = Moments::begin(pause(60), 1_000_000, &mut random).unwrap();
            let back = moments.next_ms() + away_ms;
            let Look::Wait(next) = moments.look(back, &mut random).unwrap() else { panic!("a burst") };
            assert!(next > back);
            assert_eq!(moments.look(back, &mut random).unwrap(), Look::Wait(next));
            assert_eq!(moments.look(next, &mut random).unwrap(), Look::Now);
            assert!(matches!(moments.look(next, &mut random).unwrap(), Look::Wait(_)), "once");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let mut random = SeededRandom::new(4);
        let year = 365 * 86_400_000;
        let mut moments = Moments::begin(pause(600), year, &mut random).unwrap();
        let Look::Wait(next) = moments.look(1_000, &mut random).unwrap() else { panic!() };
        assert!(next < 40 * 600_000 + 1_000);
        assert_eq!(moments.look(next, &mut random).unwrap(), Look::Now);
    }

    #[test]
    fn a14_without_randomness_nothing_is_drawn_and_nothing_changes() {
        struct None;
        impl Random for None {
            fn fill(&mut self, _: &mut [u8]) -> Result<(), CryptoError> {
                Err(CryptoError::NoRandomness)
            }
        }
        let mut moments = Moments::begin(pause(60), 0, &mut SeededRandom::new(5)).unwrap();
        let before = moments;
        assert!(moments.look(moments.next_ms(), &mut None).is_err());
        assert_eq!(moments, before);
        assert!(Moments::begin(pause(60), 0, &mut None).is_err());
    }
}
