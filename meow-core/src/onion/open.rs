//! What a hop does with a packet.

use super::class::{self, OnionClass};
use super::header::Peeled;
use super::keys::{HopKey, ReplayTag};
use super::reply::ReplyBlock;
use super::slot::{Delay, HopId, ReplySlot, Role};
use super::{PAYLOAD, SEAL};
use crate::crypto::CryptoError;
use crate::wire::{WireError, unpad};

/// A packet whose header holds. Before anything of it is released, its [`tag`](Self::tag) must have been found new and
/// made durable: else a relay that is killed forwards the same packet twice.
#[must_use]
pub struct Opened {
    class: OnionClass,
    packet: Vec<u8>,
    header: Peeled,
}

/// What becomes of a packet.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Goes on to this server.
    Forward {
        /// The next server.
        next: HopId,
        /// The packet for it.
        packet: Vec<u8>,
    },
    /// Is meant for this server.
    Deliver(Delivery),
    /// Is an answer for the link that is held under this name.
    Reply {
        /// The link.
        slot: ReplySlot,
        /// The packet for it.
        packet: Vec<u8>,
    },
}

/// What the last hop finds.
#[derive(Debug)]
pub struct Delivery {
    /// A sealed request, or anything else that its sender put there.
    pub request: Vec<u8>,
    /// Carries the answer back; `None` where the sender wants none.
    pub reply: Option<ReplyBlock>,
}

impl Opened {
    /// The key hint of an onion packet: the low byte of the number of the key that it is for. Which key that is tells
    /// before any public-key work whether a packet can be opened at all.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no onion packet of a known class.
    pub fn key_hint(packet: &[u8]) -> Result<u8, WireError> {
        class::hint(packet)
    }

    /// Opens the header with the key of its hint: one scalar multiplication.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`], whatever is wrong.
    pub fn open(packet: Vec<u8>, key: &HopKey) -> Result<Self, CryptoError> {
        let class = OnionClass::of(&packet).map_err(|_| CryptoError::Rejected)?;
        let header = Peeled::open(class, &packet, key)?;
        Ok(Self { class, packet, header })
    }

    /// By which a replay is known.
    pub fn tag(&self) -> ReplayTag {
        self.header.shared.tag
    }

    /// The packet's class, which its answer has too.
    pub fn class(&self) -> OnionClass {
        self.class
    }

    /// How long to keep the packet before it goes on, is served or is answered.
    pub fn delay(&self) -> Delay {
        self.header.slot.delay
    }

    /// The name under which to keep the link open that brought the packet, when its sender waits for an answer there.
    pub fn hold(&self) -> Option<ReplySlot> {
        self.header.slot.hold.then_some(self.header.shared.slot)
    }

    /// The deciphered slots behind the hop's own: for a later hop's eyes, and noise here whatever the number of hops.
    /// Public so that this can be measured.
    pub fn remainder(&self) -> &[u8] {
        self.header.rest()
    }

    /// Takes this hop's layer off the payload.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] where a packet for this server was touched on its way or is no content.
    pub fn release(self) -> Result<Outcome, CryptoError> {
        let Self { mut packet, header, .. } = self;
        let payload = packet.get_mut(PAYLOAD..).ok_or(CryptoError::Rejected)?;
        header.shared.layer().decrypt(payload).map_err(|_| CryptoError::Rejected)?;
        match header.slot.role {
            Role::Deliver => Ok(Outcome::Deliver(delivery(payload)?)),
            Role::Forward => {
                header.onto(&mut packet);
                Ok(Outcome::Forward { next: HopId(header.slot.next), packet })
            }
            Role::Reply => {
                header.onto(&mut packet);
                Ok(Outcome::Reply { slot: ReplySlot(header.slot.next), packet })
            }
        }
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("class", &self.class).finish_non_exhaustive()
    }
}

/// What stands after the zeros that show an untouched payload, without its padding.
pub(super) fn unsealed(payload: &[u8]) -> Result<&[u8], CryptoError> {
    match payload.split_first_chunk::<SEAL>() {
        Some((zeros, padded)) if *zeros == [0; SEAL] => unpad(padded).map_err(|_| CryptoError::Rejected),
        _ => Err(CryptoError::Rejected),
    }
}

fn delivery(payload: &[u8]) -> Result<Delivery, CryptoError> {
    match unsealed(payload)?.split_first() {
        Some((0, request)) => Ok(Delivery { request: request.to_vec(), reply: None }),
        Some((1, rest)) => {
            let (block, request) = ReplyBlock::read(rest)?;
            Ok(Delivery { request: request.to_vec(), reply: Some(block) })
        }
        _ => Err(CryptoError::Rejected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pad;

    /// Noise is hardly ever padded well, so hardly any touched packet shows what the zeros are for: here it is padded well.
    #[test]
    fn a23_good_padding_does_not_make_up_for_a_touched_payload() {
        let mut payload = [&[0; SEAL], &[0u8][..], b"request"].concat();
        pad(&mut payload, 64).unwrap();
        assert_eq!(delivery(&payload).unwrap().request, b"request");
        for bit in 0..SEAL * 8 {
            let mut bad = payload.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unsealed(&bad).err(), Some(CryptoError::Rejected), "bit {bit}");
            assert_eq!(delivery(&bad).err(), Some(CryptoError::Rejected), "bit {bit}");
        }
    }
}
