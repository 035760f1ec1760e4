//! The body around a content: sequence, epoch, what its sender has seen, and the signature.

use serde::{Deserialize, Serialize};

use super::Content;
use crate::crypto::{CryptoError, HashLabel, SignLabel, Signature, SigningKey, VerifyKey, hash};
use crate::lane::LaneId;
use crate::request::{ITEM_SIZES, MAX_ITEM};
use crate::wire::{Fixed, Wire, WireError, pad, unpad};

/// Whose message to whom. Signatures and associated data bind all four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parties {
    /// Ckp of the sender.
    pub from: VerifyKey,
    /// Ckp of the receiver.
    pub to: VerifyKey,
    /// Lane of the sender.
    pub from_lane: LaneId,
    /// Lane of the receiver.
    pub to_lane: LaneId,
}

impl Parties {
    /// The other direction.
    #[must_use]
    pub fn turned(&self) -> Self {
        Self { from: self.to, to: self.from, from_lane: self.to_lane, to_lane: self.from_lane }
    }

    /// The associated data of ratchet messages in this direction.
    pub fn associated_data(&self) -> [u8; 32] {
        hash(
            HashLabel::Transcript,
            &[self.from.as_bytes(), self.to.as_bytes(), self.from_lane.as_bytes(), self.to_lane.as_bytes()],
        )
    }
}

/// The running digest of a lane's contents: D(0) is zero, D(k) covers the contents 1 to k.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// k.
    pub upto: u64,
    digest: Fixed<32>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { upto: 0, digest: Fixed([0; 32]) }
    }
}

impl Seen {
    /// What a content enters the digest as: without the time at which it was written, which does not always travel. A
    /// message that says nothing enters as Empty, whichever kind it is of: where it was lost, Empty fills its place.
    ///
    /// # Errors
    /// [`WireError`] when the content cannot be encoded.
    pub fn item(content: &Content) -> Result<Fixed<32>, WireError> {
        let timeless = if *content == Content::Cover { Some(Content::Empty) } else { content.timeless() };
        let encoded =
            postcard::to_stdvec(timeless.as_ref().unwrap_or(content)).map_err(|_| WireError::Invalid)?;
        Ok(Fixed(hash(HashLabel::Item, &[&encoded])))
    }

    /// D(k+1), given content k+1.
    ///
    /// # Errors
    /// [`WireError`] when the content cannot be encoded.
    pub fn then(&self, content: &Content) -> Result<Self, WireError> {
        Ok(self.then_item(&Self::item(content)?))
    }

    /// D(k+1), given what content k+1 enters as.
    #[must_use]
    pub fn then_item(&self, item: &Fixed<32>) -> Self {
        Self { upto: self.upto + 1, digest: Fixed(hash(HashLabel::Seen, &[&self.digest.0, &item.0])) }
    }

    /// D(k) of both sides after a renewal with this transcript, where the receiver has everything up to k.
    pub fn restart(transcript: &[u8; 32], upto: u64) -> Self {
        Self { upto, digest: Fixed(hash(HashLabel::Seen, &[transcript])) }
    }

    /// The first four bytes, which travel.
    pub fn short(&self) -> Fixed<4> {
        let [a, b, c, d, ..] = self.digest.0;
        Fixed([a, b, c, d])
    }
}

/// The plaintext of a ratchet message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The sender's messages to this lane, from 1, without holes.
    pub seq: u64,
    /// The sender's lane-list epoch.
    pub epoch: u32,
    /// The sequence up to which the sender has every message of the other side.
    pub seen: u64,
    /// [`Seen::short`] at `seen`.
    pub digest: Fixed<4>,
    /// What it says.
    pub content: Content,
    /// By the lane key; absent in deniable messages.
    pub sig: Option<Signature>,
}

impl Wire for Body {
    const MAX: usize = MAX_ITEM;
}

impl Body {
    fn statement(&self, parties: &Parties) -> Result<Vec<Vec<u8>>, WireError> {
        let content = postcard::to_stdvec(&self.content).map_err(|_| WireError::Invalid)?;
        Ok(vec![
            parties.from.as_bytes().to_vec(),
            parties.to.as_bytes().to_vec(),
            parties.from_lane.as_bytes().to_vec(),
            parties.to_lane.as_bytes().to_vec(),
            self.seq.to_be_bytes().to_vec(),
            self.epoch.to_be_bytes().to_vec(),
            self.seen.to_be_bytes().to_vec(),
            self.digest.0.to_vec(),
            content,
        ])
    }

    /// Signs with the lane key.
    ///
    /// # Errors
    /// [`WireError`] when the content cannot be encoded.
    pub fn sign(&mut self, parties: &Parties, lane: &SigningKey) -> Result<(), WireError> {
        let statement = self.statement(parties)?;
        let parts: Vec<&[u8]> = statement.iter().map(Vec::as_slice).collect();
        self.sig = Some(lane.sign(SignLabel::Message, &parts));
        Ok(())
    }

    /// Checks the signature. One that is there must hold; one that is `required` must be there.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn check_signature(
        &self,
        parties: &Parties,
        lane: &VerifyKey,
        required: bool,
    ) -> Result<(), CryptoError> {
        match &self.sig {
            None if required => Err(CryptoError::Rejected),
            None => Ok(()),
            Some(sig) => {
                let statement = self.statement(parties).map_err(|_| CryptoError::Rejected)?;
                let parts: Vec<&[u8]> = statement.iter().map(Vec::as_slice).collect();
                lane.verify(SignLabel::Message, &parts, sig)
            }
        }
    }

    /// The padded plaintext, so that with `overhead` bytes of ratchet the item has an item size: the smallest that holds
    /// it.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond the largest item.
    pub fn to_padded(&self, overhead: usize) -> Result<Vec<u8>, WireError> {
        self.to_padded_from(0, overhead)
    }

    /// The same for an item of `least` bytes or more.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond the largest item.
    pub fn to_padded_from(&self, least: usize, overhead: usize) -> Result<Vec<u8>, WireError> {
        let mut plain = self.to_wire()?;
        let size = item_size(least.max(plain.len() + 1 + overhead)).ok_or(WireError::TooLong)?;
        pad(&mut plain, size - overhead)?;
        Ok(plain)
    }

    /// Reads a padded plaintext.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_padded(plain: &[u8]) -> Result<Self, WireError> {
        Self::from_wire(unpad(plain)?)
    }
}

/// The smallest item size that holds so many bytes.
pub fn item_size(len: usize) -> Option<usize> {
    ITEM_SIZES.into_iter().find(|size| len <= *size)
}
