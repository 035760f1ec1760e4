//! The Ckp-signed list that tells a contact which lanes are mine.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::entry::{LaneEntry, LaneId, Revoked};
use crate::crypto::{HashLabel, SignLabel, Signature, SigningKey, VerifyKey, hash};
use crate::wire::{Fixed, List, Wire, WireError};
use crate::{Error, ErrorKind};

/// The most lanes in one list.
pub const MAX_LANES: usize = 16;
/// The most revocations in one list.
pub const MAX_REVOKED: usize = 64;

/// Why a lane list does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The signature is not that of the list's Ckp.
    #[error("the signature of the lane list does not hold")]
    Signature,
    /// A key stands twice, a revoked lane is still listed, or epoch 0 has a predecessor or no lane.
    #[error("the lane list contradicts itself")]
    Inconsistent,
    /// The list belongs to another Ckp, or commits to another recovery key.
    #[error("the lane list belongs to someone else")]
    Foreign,
    /// Not the successor of the list that is known: an epoch is missing, repeated or was replaced.
    #[error("the lane list does not continue the known one")]
    BrokenChain,
    /// The list takes back a revocation.
    #[error("the lane list takes back a revocation")]
    Unrevoked,
    /// Too many lanes, revocations or epochs.
    #[error("the lane list is full")]
    Full,
    /// The list has no encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl From<LaneError> for Error {
    fn from(e: LaneError) -> Self {
        let (kind, advice) = match e {
            LaneError::Full => (ErrorKind::Limit, "remove a device first"),
            LaneError::Wire(w) => return w.into(),
            _ => (ErrorKind::Malformed, "it was refused, and the known lanes stay as they are"),
        };
        Error::new(kind, format!("{e}; {advice}")).with_source(e)
    }
}

/// The content of a lane list (spec, chapter "Lanes and cards").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneList {
    /// Whose lanes these are; signs the list.
    pub ckp: VerifyKey,
    /// 0 for the first list, one more for each later one.
    pub epoch: u32,
    /// [`VerifiedLaneList::digest`] of the list before; zeros in epoch 0.
    pub prev: Fixed<32>,
    /// Commitment to the recovery key of this contact; the same in every epoch.
    pub recovery: Fixed<32>,
    /// The lanes that speak for the Ckp.
    pub lanes: List<LaneEntry, MAX_LANES>,
    /// The lanes that no longer do. Only grows.
    pub revoked: List<Revoked, MAX_REVOKED>,
}

impl Wire for LaneList {
    const MAX: usize = 32 + 5 + 32 + 32 + 1 + MAX_LANES * LaneEntry::MAX + 1 + MAX_REVOKED * (16 + 10);
}

impl LaneList {
    /// The list of epoch 0.
    ///
    /// # Errors
    /// [`LaneError::Full`] beyond [`MAX_LANES`].
    pub fn first(ckp: VerifyKey, recovery: [u8; 32], lanes: Vec<LaneEntry>) -> Result<Self, LaneError> {
        let lanes = List::new(lanes).map_err(|_| LaneError::Full)?;
        let (prev, recovery) = (Fixed([0; 32]), Fixed(recovery));
        Ok(Self { ckp, epoch: 0, prev, recovery, lanes, revoked: List::default() })
    }

    /// The lane with this id.
    pub fn lane(&self, id: &LaneId) -> Option<&LaneEntry> {
        self.lanes.iter().find(|l| l.id() == *id)
    }

    /// The revocation of this lane.
    pub fn revocation(&self, id: &LaneId) -> Option<&Revoked> {
        self.revoked.iter().find(|r| r.lane == *id)
    }

    /// Checks what must hold within one list.
    pub(super) fn check(&self) -> Result<(), LaneError> {
        let mut ed25519 = HashSet::from([*self.ckp.as_bytes()]);
        let mut x25519 = HashSet::new();
        let mut revoked = HashSet::new();
        let keys_differ = self.lanes.iter().all(|l| {
            ed25519.insert(*l.key.as_bytes())
                && l.lookup.places().iter().all(|place| ed25519.insert(*place.lkp.as_bytes()))
                && x25519.insert(*l.prekey.as_bytes())
        });
        let revoked_once = self.revoked.iter().all(|r| revoked.insert(r.lane));
        let none_revoked = self.lanes.iter().all(|l| !revoked.contains(&l.id()));
        let begins = self.epoch > 0 || (self.prev.0 == [0; 32] && !self.lanes.is_empty());
        if keys_differ && revoked_once && none_revoked && begins {
            Ok(())
        } else {
            Err(LaneError::Inconsistent)
        }
    }
}

/// A lane list as it travels: nothing is checked yet. [`verify`](Self::verify) turns it into a
/// [`VerifiedLaneList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedLaneList {
    list: LaneList,
    sig: Signature,
}

impl Wire for SignedLaneList {
    const MAX: usize = LaneList::MAX + 64;
}

impl SignedLaneList {
    /// Checks the list in itself and its Ckp's signature.
    ///
    /// # Errors
    /// [`LaneError::Inconsistent`], [`LaneError::Signature`].
    pub fn verify(self) -> Result<VerifiedLaneList, LaneError> {
        self.list.check()?;
        let bytes = self.list.to_wire()?;
        self.list.ckp.verify(SignLabel::LaneList, &[&bytes], &self.sig).map_err(|_| LaneError::Signature)?;
        Ok(VerifiedLaneList(self))
    }
}

/// A lane list that is consistent and signed by its Ckp. Whether that Ckp is the right one, and whether the
/// list continues the known one, is for the caller ([`follows`](Self::follows)). Serialises as the
/// [`SignedLaneList`] that it came from, and verifies again when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignedLaneList", into = "SignedLaneList")]
pub struct VerifiedLaneList(SignedLaneList);

impl VerifiedLaneList {
    /// Signs a list with its Ckp.
    ///
    /// # Errors
    /// [`LaneError::Foreign`] when the key is not the list's Ckp, [`LaneError::Inconsistent`].
    pub fn sign(list: LaneList, ckp: &SigningKey) -> Result<Self, LaneError> {
        if ckp.public() != list.ckp {
            return Err(LaneError::Foreign);
        }
        list.check()?;
        let sig = ckp.sign(SignLabel::LaneList, &[&list.to_wire()?]);
        Ok(Self(SignedLaneList { list, sig }))
    }

    /// The content.
    pub fn list(&self) -> &LaneList {
        &self.0.list
    }

    /// The form that travels.
    pub fn signed(&self) -> &SignedLaneList {
        &self.0
    }

    /// The form that travels, by value.
    pub fn into_signed(self) -> SignedLaneList {
        self.0
    }

    /// The link of the chain: what the next list names as `prev`.
    ///
    /// # Errors
    /// [`LaneError::Wire`], which a list that was decoded or signed never gives.
    pub fn digest(&self) -> Result<[u8; 32], LaneError> {
        Ok(hash(HashLabel::LaneList, &[&self.0.to_wire()?]))
    }
}

impl TryFrom<SignedLaneList> for VerifiedLaneList {
    type Error = LaneError;
    fn try_from(signed: SignedLaneList) -> Result<Self, LaneError> {
        signed.verify()
    }
}

impl From<VerifiedLaneList> for SignedLaneList {
    fn from(verified: VerifiedLaneList) -> Self {
        verified.into_signed()
    }
}
