//! Single-use reply blocks: how an answer finds back to a sender whom nobody on the way knows.

use super::class::OnionClass;
use super::header::Made;
use super::keys::Shared;
use super::open::unsealed;
use super::seal::join;
use super::slot::HopId;
use super::{HEADER, KEY, OnionError, PAYLOAD, SEAL};
use crate::crypto::{CryptoError, Secret, WideKey};
use crate::wire::pad;

/// Length of a reply block in bytes: first server [16], key hint [1], header [388], key [32].
pub(super) const BLOCK: usize = 16 + 1 + HEADER + KEY;

/// Carries one answer back. Whoever uses it twice is stopped by the first server on the way, as any replay.
pub struct ReplyBlock {
    first: HopId,
    hint: u8,
    header: Box<[u8; HEADER]>,
    key: Secret,
}

impl ReplyBlock {
    pub(super) fn new(first: HopId, made: &Made, key: Secret) -> Self {
        Self { first, hint: made.hint, header: Box::new(made.bytes), key }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.0);
        out.push(self.hint);
        out.extend_from_slice(&*self.header);
        out.extend_from_slice(self.key.expose());
    }

    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), CryptoError> {
        let (first, rest) = bytes.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let ([hint], rest) = rest.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let (header, rest) = rest.split_first_chunk().ok_or(CryptoError::Rejected)?;
        let (key, rest) = rest.split_first_chunk().ok_or(CryptoError::Rejected)?;
        Ok((
            Self { first: HopId(*first), hint: *hint, header: Box::new(*header), key: Secret::new(*key) },
            rest,
        ))
    }

    /// The server to send the answer to.
    pub fn first(&self) -> HopId {
        self.first
    }

    /// The packet that carries this answer. Its class is that of the packet which brought the block.
    ///
    /// # Errors
    /// [`OnionError::TooLong`] beyond [`OnionClass::answer_room`].
    pub fn answer(self, class: OnionClass, answer: &[u8]) -> Result<Vec<u8>, OnionError> {
        let mut payload = Vec::with_capacity(class.len() - PAYLOAD);
        payload.extend_from_slice(&[0; SEAL]);
        payload.extend_from_slice(answer);
        pad(&mut payload, class.len() - PAYLOAD).map_err(|_| OnionError::TooLong)?;
        WideKey::expand(&self.key).encrypt(&mut payload)?;
        Ok(join(self.hint, &*self.header, &payload))
    }
}

impl std::fmt::Debug for ReplyBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplyBlock(..)")
    }
}

/// What a sender keeps until the answer comes.
pub struct PendingReply {
    class: OnionClass,
    /// Of the servers on the way back, in order.
    layers: Vec<Secret>,
    key: Secret,
}

impl PendingReply {
    pub(super) fn new(class: OnionClass, back: Vec<Shared>, key: Secret) -> Self {
        Self { class, layers: back.into_iter().map(Shared::into_payload).collect(), key }
    }

    /// The class that the answer will have.
    pub fn class(&self) -> OnionClass {
        self.class
    }

    /// Opens what the entry server handed back: the answer as the last hop gave it.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`], whatever is wrong.
    pub fn open(&self, mut packet: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
        if OnionClass::of(&packet) != Ok(self.class) {
            return Err(CryptoError::Rejected);
        }
        let payload = packet.get_mut(PAYLOAD..).ok_or(CryptoError::Rejected)?;
        // Each server took a layer off; put them on again, the last one first.
        for layer in self.layers.iter().rev() {
            WideKey::expand(layer).encrypt(payload).map_err(|_| CryptoError::Rejected)?;
        }
        WideKey::expand(&self.key).decrypt(payload).map_err(|_| CryptoError::Rejected)?;
        Ok(unsealed(payload)?.to_vec())
    }
}

impl std::fmt::Debug for PendingReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingReply").field("class", &self.class).finish_non_exhaustive()
    }
}
