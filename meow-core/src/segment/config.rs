//! What the machine has to know of its medium, and its bounds.

use std::time::Duration;

use crate::transport::{CostClass, LinkProfile, Pattern};
use crate::{Error, ErrorKind, Result};

use super::header::{DATA_HEADER, LONGEST_ACK, MAX_WINDOW};

/// Largest packet that a segmented link takes: the largest sealed packet and 1 KiB.
pub const MAX_PACKET: usize = 33_792;
/// Smallest frame over which packets can be cut into segments, in bytes.
pub const MIN_FRAME: usize = 32;
/// Longer than a station that has used its airtime up may have to be silent.
const LONGEST_PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// A medium, and what may be spent on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Largest frame in bytes, 32 or more.
    pub max_frame: usize,
    /// Largest packet in bytes.
    pub max_packet: usize,
    /// Frames can vanish: they are acknowledged and repeated.
    pub repeat: bool,
    /// Every frame reaches every station: packets of a thin size go as they are.
    pub bus: bool,
    /// Nobody hears while he sends: after a poll the medium is kept free for its answer.
    pub half_duplex: bool,
    /// Round trip without the time on the medium.
    pub rtt: Duration,
    /// Bits per second.
    pub bit_rate: u64,
    /// Most segments under way on one link, 1 to 64.
    pub window: u8,
    /// How long nothing may be heard of a far side that owes something.
    pub patience: Duration,
    /// Most links that others opened.
    pub max_links: usize,
    /// Most bytes that wait in all links to be read, half-received packets included.
    pub max_memory: usize,
}

impl Config {
    /// What follows from a link's profile.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for frames under [`MIN_FRAME`] bytes.
    pub fn from_profile(profile: &LinkProfile) -> Result<Self> {
        if profile.max_frame < MIN_FRAME {
            let text = format!("frames of {} bytes are too small, {MIN_FRAME} are needed", profile.max_frame);
            return Err(Error::new(ErrorKind::Usage, text));
        }
        let piece = profile.max_frame - DATA_HEADER;
        // Two packets under way are enough for any link; more would be memory for nothing.
        let window = (2 * MAX_PACKET).div_ceil(piece).clamp(4, MAX_WINDOW.into());
        let mut config = Self {
            max_frame: profile.max_frame,
            max_packet: MAX_PACKET,
            repeat: !profile.reliable,
            bus: profile.pattern == Pattern::Bus,
            half_duplex: profile.cost == CostClass::Scarce,
            rtt: profile.rtt,
            bit_rate: profile.bit_rate.max(1),
            window: u8::try_from(window).unwrap_or(MAX_WINDOW),
            patience: Duration::from_secs(60),
            max_links: 256,
            max_memory: (2 << 20).max(3 * window * profile.max_frame),
        };
        // A slow medium, and more so one on which stations must be silent for most of the time, takes longer.
        let mut patience = config.airtime(config.max_frame) * 100;
        if let Some(ppm) = profile.airtime_ppm {
            patience = patience.mul_f64(1e6 / f64::from(ppm.clamp(1, 1_000_000)));
        }
        config.patience = config.patience.max(patience).min(LONGEST_PATIENCE);
        Ok(config)
    }

    /// How long a frame of this many bytes is on the medium, by the bit rate alone.
    pub fn airtime(&self, bytes: usize) -> Duration {
        let micros = (bytes as u64).saturating_mul(8_000_000) / self.bit_rate.max(1);
        Duration::from_micros(micros)
    }

    /// The longest that a sender goes on without an answer, and the answer.
    pub(super) fn longest_burst(&self) -> Duration {
        (self.airtime(self.max_frame) + self.rtt) * u32::from(self.window) + self.answer_time() * 2
    }

    /// The time that an answer to a poll needs.
    pub(super) fn answer_time(&self) -> Duration {
        self.rtt + self.airtime(LONGEST_ACK)
    }
}
