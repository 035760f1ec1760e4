//! How long to wait for an acknowledgement (after RFC 6298).

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Rto {
    floor: Duration,
    /// Smoothed round trip and its variation, once one was measured.
    measured: Option<(Duration, Duration)>,
    initial: Duration,
    /// Stations that collided have to miss each other by this much.
    apart: Duration,
    /// The longest wait, unless a round trip takes longer.
    most: Duration,
    /// The longest wait for a far side that takes nothing.
    probe: Duration,
}

/// The shortest wait: a busy machine is no loss.
const LEAST: Duration = Duration::from_millis(50);
/// See [`Rto::most`].
const MOST: Duration = Duration::from_secs(120);
/// A far side is asked so often, at least, before it counts as silent.
pub(super) const TRIES: u32 = 8;
/// Doublings at most.
const MAX_DOUBLINGS: u32 = 5;

impl Rto {
    /// `answer` is how long an answer takes at least, `frame` the time of the longest frame. On a `shared` medium frames
    /// that overlap destroy each other. After `patience` without a word the far side gives up.
    pub(super) fn new(answer: Duration, frame: Duration, shared: bool, patience: Duration) -> Self {
        let initial = (answer * 2 + frame).max(Duration::from_millis(200));
        let apart = if shared { frame * 2 } else { Duration::ZERO };
        // Half for the wait and half for its random part.
        let most = MOST.min(patience / TRIES / 2);
        let probe = patience / 4;
        Self { floor: (answer + answer / 2).max(LEAST), measured: None, initial, apart, most, probe }
    }

    pub(super) fn sample(&mut self, rtt: Duration) {
        self.measured = Some(match self.measured {
            None => (rtt, rtt / 2),
            Some((smooth, variation)) => {
                let off = smooth.abs_diff(rtt);
                ((smooth * 7 + rtt) / 8, (variation * 3 + off) / 4)
            }
        });
    }

    /// How often a far side is asked in vain before it counts as silent. On a shared medium questions and answers meet others.
    pub(super) fn most_tries(&self) -> u32 {
        if self.apart.is_zero() { TRIES } else { TRIES * 2 }
    }

    /// The wait until a far side that takes nothing is asked whether it does again, after so many answers that it does not: it
    /// says so by itself, and many who ask crowd the medium.
    pub(super) fn probe(&self, before: u32, draw: u64) -> Duration {
        let wait = self.wait(3, draw);
        wait.saturating_mul(1 << before.min(MAX_DOUBLINGS * 2)).min(self.probe.max(wait))
    }

    /// The wait after `tries` waits in vain. `draw` is random: up to half as much is added, on a shared medium up to two
    /// frames, doubled like the wait, so that stations that collided do not meet again.
    pub(super) fn wait(&self, tries: u32, draw: u64) -> Duration {
        let plain = self.measured.map_or(self.initial, |(smooth, variation)| smooth + variation * 4);
        // On radio a frame is more likely to be lost than the channel to be crowded.
        let tries = if self.apart.is_zero() { tries } else { tries / 2 };
        let doubled = 1 << tries.min(MAX_DOUBLINGS);
        let plain = plain.max(self.floor);
        let most = self.most.max(plain);
        let wait = plain.saturating_mul(doubled).min(most);
        let spread = (wait / 2).max(self.apart.saturating_mul(doubled).min(most));
        wait + spread.mul_f64((draw >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// SplitMix64: repeatable, and good enough for jitter.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
