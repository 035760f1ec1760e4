//! The two lengths of packets.

use super::{PAYLOAD, PREFIX, SEAL, reply};
use crate::wire::{Suite, WireError};

/// The length of a packet. A reply has the class of the packet that brought its reply block, so nobody is made to send
/// more than he was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OnionClass {
    /// 2,048 bytes.
    Small,
    /// 33,792 bytes: a sealed packet of the largest size class fits, with a reply block beside it.
    Large,
}

impl OnionClass {
    /// Every class, the smallest first.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Length of a packet in bytes, suite byte included.
    #[allow(clippy::len_without_is_empty, reason = "no packet is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Small => 2048,
            Self::Large => 33_792,
        }
    }

    /// The class of a packet, by its suite byte and length.
    ///
    /// # Errors
    /// [`WireError::NewerVersion`], or [`WireError::Invalid`] for anything that is no onion packet.
    pub fn of(packet: &[u8]) -> Result<Self, WireError> {
        Suite::Onion.strip(packet)?;
        Self::ALL.into_iter().find(|class| class.len() == packet.len()).ok_or(WireError::Invalid)
    }

    /// Longest request in bytes that a packet of this class carries, with a reply block beside it or without.
    pub const fn request_room(self, reply: bool) -> usize {
        let block = if reply { reply::BLOCK } else { 0 };
        // One byte says whether there is a block, one at least is padding.
        self.len() - PAYLOAD - SEAL - 1 - block - 1
    }

    /// Longest answer in bytes that comes back in a packet of this class.
    pub const fn answer_room(self) -> usize {
        self.len() - PAYLOAD - SEAL - 1
    }

    /// What a MAC says of the class.
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Large => 1,
        }
    }
}

/// The low byte of the number of the key that a packet is for, marked or not.
///
/// # Errors
/// As [`OnionClass::of`].
pub(super) fn hint(packet: &[u8]) -> Result<u8, WireError> {
    if Suite::Relayed.strip(packet).is_err() {
        Suite::Onion.strip(packet)?;
    }
    if OnionClass::ALL.into_iter().all(|class| class.len() != packet.len()) {
        return Err(WireError::Invalid);
    }
    packet.get(PREFIX - 1).copied().ok_or(WireError::Invalid)
}
