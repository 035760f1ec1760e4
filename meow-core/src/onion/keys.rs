//! What a sender and one hop share, and nobody else.

use std::fmt;

use super::slot::{ReplySlot, halves};
use crate::crypto::{CryptoError, DhPublic, DhSecret, KeyLabel, Secret, WideKey, derive_keys};

/// A server's X25519 sealing key, with what each packet would else compute anew.
#[derive(Clone, Debug)]
pub struct HopKey {
    number: u32,
    secret: DhSecret,
    public: DhPublic,
}

impl HopKey {
    /// The sealing key of this number.
    pub fn new(number: u32, secret: DhSecret) -> Self {
        let public = secret.public();
        Self { number, secret, public }
    }

    /// The public half.
    pub fn public(&self) -> &DhPublic {
        &self.public
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The low byte of its number, which stands in front of each packet.
    pub fn hint(&self) -> u8 {
        hint_of(self.number)
    }

    /// Keys of the packet whose header begins with this ephemeral key.
    pub(super) fn agree(&self, ephemeral: &DhPublic) -> Result<Shared, CryptoError> {
        Ok(Shared::new(&self.secret.agree(ephemeral)?, ephemeral, &self.public))
    }
}

pub(super) fn hint_of(number: u32) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

/// Recognises a packet that was seen before: 16 bytes that only sender and hop know. Keep it durably, until the key
/// that the packet was sealed to is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayTag([u8; 16]);

impl ReplayTag {
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ReplayTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayTag(..)")
    }
}

/// Everything derived from one agreement.
pub(super) struct Shared {
    /// Key stream over the slots.
    pub(super) stream: Secret,
    pub(super) mac: Secret,
    payload: Secret,
    pub(super) tag: ReplayTag,
    pub(super) slot: ReplySlot,
}

impl Shared {
    pub(super) fn new(agreed: &Secret, ephemeral: &DhPublic, hop: &DhPublic) -> Self {
        let context: [&[u8]; 2] = [ephemeral.as_bytes(), hop.as_bytes()];
        let [stream, mac, payload, marks] = derive_keys(KeyLabel::Onion, &[], agreed.expose(), &context);
        let [tag, slot] = halves(marks.expose());
        Self { stream, mac, payload, tag: ReplayTag(tag), slot: ReplySlot(slot) }
    }

    /// The key of this hop's layer of the payload.
    pub(super) fn layer(&self) -> WideKey {
        WideKey::expand(&self.payload)
    }

    pub(super) fn into_payload(self) -> Secret {
        self.payload
    }
}
