//! What a link can do. The link's own profile is the truth; an estimate is a guess before dialing.

use std::time::Duration;

/// How frames flow on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// Frames out, then [`finish`](crate::transport::SendFrames::finish), then frames in, then the end
    /// (an HTTP request).
    Exchange,
    /// Frames either way until one side closes (a QUIC stream).
    Session,
    /// A shared medium where every frame reaches every station (radio, serial bus).
    Bus,
}

/// What using a link costs its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CostClass {
    /// Free to use (LAN, cable).
    Free,
    /// Paid by volume or battery (mobile data).
    Metered,
    /// Scarce and shared (radio airtime).
    Scarce,
}

/// The properties of a link that the layers above decide by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkProfile {
    /// Largest frame in bytes; a larger one is refused before anything is sent.
    pub max_frame: usize,
    /// Largest packet in bytes that travels in one piece, without being cut into segments below this link. It is
    /// `max_frame` for plain links; a link of pattern [`Bus`](Pattern::Bus) with less than 256 is a thin one.
    pub single: usize,
    /// Frames arrive or the link fails; false means that frames of up to [`single`](Self::single) bytes can vanish.
    pub reliable: bool,
    /// Frames arrive in the order of sending.
    pub ordered: bool,
    /// How frames flow.
    pub pattern: Pattern,
    /// The far side can send without being asked.
    pub push: bool,
    /// Typical round trip.
    pub rtt: Duration,
    /// Typical bit rate in bits per second.
    pub bit_rate: u64,
    /// Share of time this station may transmit, in parts per million (1 % is 10_000), where the law or the
    /// operator sets one.
    pub airtime_ppm: Option<u32>,
    /// What using the link costs.
    pub cost: CostClass,
    /// The far side learns this side's network address.
    pub exposes_address: bool,
}

impl LinkProfile {
    /// A reliable, ordered, free link of this pattern and frame size; change the fields that differ.
    pub fn new(pattern: Pattern, max_frame: usize) -> Self {
        Self {
            max_frame,
            single: max_frame,
            reliable: true,
            ordered: true,
            pattern,
            push: !matches!(pattern, Pattern::Exchange),
            rtt: Duration::from_millis(50),
            bit_rate: 10_000_000,
            airtime_ppm: None,
            cost: CostClass::Free,
            exposes_address: true,
        }
    }
}
