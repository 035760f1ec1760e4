//! The secret half of a first contact: what its maker keeps until the other side has answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Card, CardError, CardFile};
use crate::crypto::{CryptoError, DhSecret, KemSecret, Random, Secret, SigningKey, VerifyKey};
use crate::identity::{ContactId, Root, recovery_commitment};
use crate::lane::{LaneEntry, LaneError, LaneId, LaneList, LookupSecrets, ServerRef, VerifiedLaneList};
use crate::wire::Fixed;

/// Everything secret behind one fresh contact identity and its first lane. The issuer of a card keeps it
/// until the answer comes (so that an answer needs no password), the taker until the contact is established.
/// Serialises for sealed storage only.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardSecrets {
    /// Names the contact in derivations; with the root it gives the Ckp back.
    pub contact_id: ContactId,
    /// Generation of the root that the Ckp was derived from.
    pub generation: u32,
    /// The contact key.
    pub ckp: SigningKey,
    /// Public half of the key that closes this lane's mailboxes; the private half comes from the root.
    pub close: VerifyKey,
    /// The lane's signing key.
    pub lane: SigningKey,
    /// The lane's X25519 prekey.
    pub prekey: DhSecret,
    /// The lane's ML-KEM-768 prekey.
    pub kem: KemSecret,
    /// What names the lane's mailboxes, signs pulls, and lets the contact deposit.
    pub lookup: LookupSecrets,
}

impl CardSecrets {
    /// Fresh secrets of one contact and its lane on this device.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(root: &Root, random: &mut dyn Random) -> Result<Self, CryptoError> {
        let contact_id = ContactId::generate(random)?;
        let lane = SigningKey::generate(random)?;
        Ok(Self {
            contact_id,
            generation: root.generation(),
            ckp: root.ckp(&contact_id),
            close: root.close_key(&contact_id, &LaneId::of(&lane.public())).public(),
            lane,
            prekey: DhSecret::generate(random)?,
            kem: KemSecret::generate(random)?,
            lookup: LookupSecrets::generate(random)?,
        })
    }

    /// What the contact gets to see of the lane.
    ///
    /// # Errors
    /// [`LaneError::Full`] beyond [`MAX_SERVERS`](crate::lane::MAX_SERVERS), [`LaneError::Inconsistent`] where one stands
    /// twice.
    pub fn lane_entry(&self, servers: Vec<ServerRef>) -> Result<LaneEntry, LaneError> {
        Ok(LaneEntry {
            key: self.lane.public(),
            prekey: self.prekey.public(),
            kem: Fixed(self.kem.public().digest()),
            lookup: self.lookup.lookup(servers)?,
        })
    }

    /// The signed lane list of epoch 0, with this lane alone. `recovery` is the recovery key that this
    /// contact is given, used for no other contact.
    ///
    /// # Errors
    /// [`LaneError::Full`] beyond [`MAX_SERVERS`](crate::lane::MAX_SERVERS).
    pub fn first_list(
        &self,
        recovery: &VerifyKey,
        servers: Vec<ServerRef>,
    ) -> Result<VerifiedLaneList, LaneError> {
        let lanes = vec![self.lane_entry(servers)?];
        let list = LaneList::first(self.ckp.public(), recovery_commitment(recovery), lanes)?;
        VerifiedLaneList::sign(list, &self.ckp)
    }

    /// A card of these secrets, good until `expires` (Unix seconds), in the file form.
    ///
    /// # Errors
    /// [`CardError::NoServer`] when no server has a URL, [`CardError::Lanes`] for too many,
    /// [`CardError::Crypto`] without randomness.
    pub fn card(
        &self,
        recovery: &VerifyKey,
        servers: Vec<ServerRef>,
        expires: u64,
        random: &mut dyn Random,
    ) -> Result<CardFile, CardError> {
        let lanes = self.first_list(recovery, servers)?;
        let card = Card::sign(lanes, Secret::generate(random)?, expires, &self.ckp)?;
        CardFile::new(card, Some(self.kem.public()))
    }
}

impl fmt::Debug for CardSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardSecrets(..)")
    }
}
