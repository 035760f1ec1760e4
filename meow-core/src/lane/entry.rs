//! One lane as its contact sees it, and the mark that a removed lane leaves.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lookup::Lookup;
use crate::crypto::{DhPublic, HashLabel, VerifyKey, hash};
use crate::wire::{Fixed, Wire};

/// Name of a lane: the first 16 bytes of the hash of its signing key. Ordered bytewise. `Debug` is
/// redacted, since it names a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId(Fixed<16>);

impl LaneId {
    /// The id of the lane with this signing key.
    pub fn of(key: &VerifyKey) -> Self {
        let digest = hash(HashLabel::LaneId, &[key.as_bytes()]);
        let mut id = [0u8; 16];
        id.iter_mut().zip(digest).for_each(|(out, b)| *out = b);
        Self(Fixed(id))
    }

    /// The id of these bytes, as a store or a message holds them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Fixed(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }
}

impl fmt::Debug for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneId(..)")
    }
}

/// One end of a conversation on one device (spec, chapter "Lanes and cards").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneEntry {
    /// Signs messages, renewals and prekeys of this lane.
    pub key: VerifyKey,
    /// X25519 prekey for openings.
    pub prekey: DhPublic,
    /// Digest of the ML-KEM-768 prekey, [`KemPublic::digest`](crate::crypto::KemPublic::digest).
    pub kem: Fixed<32>,
    /// Where to deposit for it.
    pub lookup: Lookup,
}

impl LaneEntry {
    /// The lane's id.
    pub fn id(&self) -> LaneId {
        LaneId::of(&self.key)
    }
}

impl Wire for LaneEntry {
    const MAX: usize = 3 * 32 + Lookup::MAX;
}

/// A lane that no longer speaks for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Which lane.
    pub lane: LaneId,
    /// The last sequence number that is accepted from it; later ones are refused.
    pub last_seq: u64,
}
