//! What an opening says under its seal.

use serde::{Deserialize, Serialize};

use super::{HEAD, OpeningError};
use crate::crypto::{AEAD_TAG, DhPublic, Signature};
use crate::lane::{Lookup, SignedLaneList};
use crate::message::item_size;
use crate::request::MAX_ITEM;
use crate::wire::{Text, Wire, WireError, pad, unpad};

/// Longest greeting in bytes.
pub const MAX_GREETING: usize = 500;

/// What the initiator states. In a renewal the greeting is empty and the mailbox is there; in an answer it is
/// the other way round, and both sequences are 0 and 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The initiator's lanes.
    pub lanes: SignedLaneList,
    /// Its first Ekp.
    pub ekp: DhPublic,
    /// Where to deposit from now on.
    pub mailbox: Option<Lookup>,
    /// The sequence up to which the initiator has every message of the responder.
    pub have: u64,
    /// One more than the highest sequence that the initiator has of the responder: the responder goes on there
    /// at least.
    pub next: u64,
    /// A first word, before anything is confirmed.
    pub greeting: Text<MAX_GREETING>,
}

impl Wire for Statement {
    const MAX: usize = MAX_ITEM;
}

/// The sealed payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) statement: Statement,
    /// Over the transcript, by the Ckp (answers) or the lane key (renewals).
    pub(super) sig: Signature,
}

impl Wire for Payload {
    const MAX: usize = MAX_ITEM;
}

impl Payload {
    /// The plaintext, padded so that the item has an item size.
    pub(super) fn to_padded(&self) -> Result<Vec<u8>, WireError> {
        let mut plain = self.to_wire()?;
        let around = HEAD + AEAD_TAG;
        let size = item_size(around + plain.len() + 1).ok_or(WireError::TooLong)?;
        pad(&mut plain, size - around)?;
        Ok(plain)
    }

    pub(super) fn from_padded(plain: &[u8]) -> Result<Self, OpeningError> {
        unpad(plain).and_then(Self::from_wire).map_err(|_| OpeningError::Rejected)
    }
}
