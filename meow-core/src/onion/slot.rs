//! What one hop is told: 68 bytes.

use std::fmt;
use std::time::Duration;

use super::{KEY, MAC, SLOT};
use crate::crypto::CryptoError;

/// A server as slots name it: the first 16 bytes of its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopId(pub [u8; 16]);

impl HopId {
    /// The short form of a fingerprint.
    pub fn of(fingerprint: &[u8; 32]) -> Self {
        let [id, _] = halves(fingerprint);
        Self(id)
    }
}

impl fmt::Debug for HopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopId(..)")
    }
}

/// Names the link that an entry server holds open for an answer. Only that server and the sender know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplySlot(pub(super) [u8; 16]);

impl fmt::Debug for ReplySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplySlot(..)")
    }
}

/// How long a hop keeps a packet, as the sender drew it: a number of hundredths of a second, up to 655.35 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(u16);

impl Delay {
    /// No delay.
    pub const NONE: Self = Self(0);
    /// 655.35 s.
    pub const MAX: Self = Self(u16::MAX);

    /// The nearest delay that is not longer; durations beyond [`Delay::MAX`] become that.
    pub fn from_duration(duration: Duration) -> Self {
        Self(u16::try_from(duration.as_millis() / 10).unwrap_or(u16::MAX))
    }

    /// The delay as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

/// What a hop does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends it on.
    Forward,
    /// It is meant for this server.
    Deliver,
    /// An answer: goes out on the link that is held open for it.
    Reply,
}

/// Deciphered slot. For `Deliver`, `next`, `key`, `mac` and `hint` are noise; for `Reply`, `next` is the reply slot and
/// the rest noise.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) next: [u8; 16],
    pub(super) key: [u8; KEY],
    pub(super) mac: [u8; MAC],
    pub(super) role: Role,
    /// Keep the link that brought the packet open: an answer will come for it.
    pub(super) hold: bool,
    pub(super) hint: u8,
    pub(super) delay: Delay,
}

impl Slot {
    pub(super) fn to_bytes(self) -> [u8; SLOT] {
        let flags = match (self.role, self.hold) {
            (Role::Forward, false) => 0,
            (Role::Forward, true) => 1,
            (Role::Deliver, false) => 2,
            (Role::Deliver, true) => 3,
            (Role::Reply, _) => 4u8,
        };
        let tail = [&[flags, self.hint][..], &self.delay.0.to_be_bytes()].concat();
        let all = self.next.iter().chain(&self.key).chain(&self.mac).chain(&tail);
        let mut out = [0; SLOT];
        out.iter_mut().zip(all).for_each(|(o, b)| *o = *b);
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; SLOT]) -> Result<Self, CryptoError> {
        let (next, rest) = bytes.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let (key, rest) = rest.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let (mac, rest) = rest.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let [flags, hint, high, low] = *rest else { return Err(CryptoError::Rejected) };
        let (role, hold) = match flags {
            0 => (Role::Forward, false),
            1 => (Role::Forward, true),
            2 => (Role::Deliver, false),
            3 => (Role::Deliver, true),
            4 => (Role::Reply, false),
            _ => return Err(CryptoError::Rejected),
        };
        let delay = Delay(u16::from_be_bytes([high, low]));
        Ok(Self { next: *next, key: *key, mac: *mac, role, hold, hint, delay })
    }
}

/// The halves of 32 bytes.
pub(super) fn halves(bytes: &[u8; 32]) -> [[u8; 16]; 2] {
    let half = |from: usize| std::array::from_fn(|i| bytes.get(from + i).copied().unwrap_or_default());
    [half(0), half(16)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_as_it_was_written() {
        for (role, hold) in [
            (Role::Forward, false),
            (Role::Forward, true),
            (Role::Deliver, false),
            (Role::Deliver, true),
            (Role::Reply, false),
        ] {
            let slot =
                Slot { next: [1; 16], key: [2; 32], mac: [3; 16], role, hold, hint: 4, delay: Delay(0x0506) };
            let bytes = slot.to_bytes();
            assert_eq!(bytes[65..], [4, 5, 6]);
            let again = Slot::from_bytes(&bytes).unwrap();
            assert_eq!((again.role, again.hold, again.to_bytes()), (role, hold, bytes));
        }
        for flags in 5..=255 {
            let mut bytes = [0; SLOT];
            bytes[64] = flags;
            assert!(Slot::from_bytes(&bytes).is_err(), "{flags}");
        }
    }

    #[test]
    fn delays_are_cut_to_what_a_slot_can_say() {
        assert_eq!(Delay::from_duration(Duration::from_millis(1239)).duration(), Duration::from_millis(1230));
        assert_eq!(Delay::from_duration(Duration::from_secs(656)), Delay::MAX);
        assert_eq!(Delay::MAX.duration(), Duration::from_millis(655_350));
    }
}
