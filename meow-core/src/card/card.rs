//! The card itself: what one person hands another to become a contact.

use serde::{Deserialize, Serialize};

use super::CardError;
use crate::crypto::{
    HashLabel, KemPublic, KeyLabel, Secret, SignLabel, Signature, SigningKey, VerifyKey, derive, derive_key,
    hash, open_gcm, seal_gcm,
};
use crate::lane::{LaneEntry, SignedLaneList, VerifiedLaneList};
use crate::wire::Wire;

/// How long after its expiry a card is still taken, in seconds: clocks differ.
pub const CARD_GRACE: u64 = 24 * 60 * 60;

/// A card as it travels, unchecked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CardWire {
    lanes: SignedLaneList,
    secret: Secret,
    expires: u64,
    sig: Signature,
}

impl Wire for CardWire {
    // One lane, nothing revoked.
    const MAX: usize = 32 + 5 + 32 + 32 + 1 + LaneEntry::MAX + 1 + 64 + 32 + 10 + 64;
}

/// A card whose signatures hold: one lane of a contact key, and a secret that only those who were handed the
/// card know (spec, chapter "Lanes and cards"). A value of this type is consistent; whether it is still
/// good is [`check_time`](Self::check_time)'s to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CardWire", into = "CardWire")]
pub struct Card {
    lanes: VerifiedLaneList,
    lane: LaneEntry,
    secret: Secret,
    expires: u64,
    sig: Signature,
}

impl Wire for Card {
    const MAX: usize = CardWire::MAX;
}

impl Card {
    /// Makes and signs a card. `lanes` is a list of epoch 0 with one lane, signed by `ckp`.
    ///
    /// # Errors
    /// [`CardError::NoServer`] when the lane has no server with a URL; [`CardError::Malformed`] when `lanes`
    /// is not such a list.
    pub fn sign(
        lanes: VerifiedLaneList,
        secret: Secret,
        expires: u64,
        ckp: &SigningKey,
    ) -> Result<Self, CardError> {
        if lanes.list().ckp != ckp.public() {
            return Err(CardError::Malformed);
        }
        let bytes = lanes.signed().to_wire().map_err(|_| CardError::Malformed)?;
        let sig = ckp.sign(SignLabel::Card, &[&bytes, secret.expose(), &expires.to_be_bytes()]);
        Self::assemble(lanes, secret, expires, sig)
    }

    fn assemble(
        lanes: VerifiedLaneList,
        secret: Secret,
        expires: u64,
        sig: Signature,
    ) -> Result<Self, CardError> {
        let list = lanes.list();
        let lane = match &*list.lanes {
            [lane] if list.epoch == 0 && list.revoked.is_empty() => lane.clone(),
            _ => return Err(CardError::Malformed),
        };
        if !lane.lookup.servers().any(|s| s.urls().next().is_some()) {
            return Err(CardError::NoServer);
        }
        Ok(Self { lanes, lane, secret, expires, sig })
    }

    /// The contact key that the card introduces.
    pub fn ckp(&self) -> &VerifyKey {
        &self.lanes.list().ckp
    }

    /// The lane that an answer goes to.
    pub fn lane(&self) -> &LaneEntry {
        &self.lane
    }

    /// The lane list of epoch 0, which holds that lane.
    pub fn lanes(&self) -> &VerifiedLaneList {
        &self.lanes
    }

    /// The card secret, known to those who were handed the card.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Until when the card is good, in Unix seconds.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// The hash that names the card in openings.
    ///
    /// # Errors
    /// [`CardError::Malformed`], which a card that was decoded or signed never gives.
    pub fn hash(&self) -> Result<[u8; 32], CardError> {
        let bytes = self.to_wire().map_err(|_| CardError::Malformed)?;
        Ok(hash(HashLabel::Card, &[&bytes]))
    }

    /// Whether the card is still good at `now` (Unix seconds), with a day of grace.
    ///
    /// # Errors
    /// [`CardError::Expired`].
    pub fn check_time(&self, now: u64) -> Result<(), CardError> {
        if now <= self.expires.saturating_add(CARD_GRACE) { Ok(()) } else { Err(CardError::Expired) }
    }

    /// Name of the blob in the issuer's mailbox at the server of this fingerprint in which the KEM key of a URI card
    /// waits. Another one at each server, as is the key that seals it: two servers cannot compare what they hold.
    pub fn kem_blob_name(&self, server: &[u8; 32]) -> [u8; 16] {
        derive(KeyLabel::CardBlob, &[], self.secret.expose(), &[b"name", server])
    }

    fn kem_blob_key(&self, server: &[u8; 32]) -> Secret {
        derive_key(KeyLabel::CardBlob, &[], self.secret.expose(), &[b"key", server])
    }

    /// The content of that blob: 1,200 bytes. Sealing the same key again gives the same bytes.
    ///
    /// # Errors
    /// [`CardError::Malformed`] when the key is not the one that the card names.
    pub fn seal_kem(&self, kem: &KemPublic, server: &[u8; 32]) -> Result<Vec<u8>, CardError> {
        self.check_kem(kem)?;
        // One key, and one plaintext that the card fixes: the zero nonce never meets a second plaintext.
        Ok(seal_gcm(&self.kem_blob_key(server), &[0; 12], &self.hash()?, kem.as_bytes())?)
    }

    /// Opens the blob of a server and checks that the KEM key is the one that the card names.
    ///
    /// # Errors
    /// [`CardError::Malformed`].
    pub fn open_kem(&self, blob: &[u8], server: &[u8; 32]) -> Result<KemPublic, CardError> {
        let bytes = open_gcm(&self.kem_blob_key(server), &[0; 12], &self.hash()?, blob)
            .map_err(|_| CardError::Malformed)?;
        let bytes = bytes.as_slice().try_into().map_err(|_| CardError::Malformed)?;
        let kem = KemPublic::from_bytes(bytes).map_err(|_| CardError::Malformed)?;
        self.check_kem(&kem)?;
        Ok(kem)
    }

    pub(super) fn check_kem(&self, kem: &KemPublic) -> Result<(), CardError> {
        if kem.digest() == self.lane.kem.0 { Ok(()) } else { Err(CardError::Malformed) }
    }
}

impl TryFrom<CardWire> for Card {
    type Error = CardError;
    fn try_from(wire: CardWire) -> Result<Self, CardError> {
        let bytes = wire.lanes.to_wire().map_err(|_| CardError::Malformed)?;
        let lanes = wire.lanes.verify().map_err(|_| CardError::Malformed)?;
        let parts: [&[u8]; 3] = [&bytes, wire.secret.expose(), &wire.expires.to_be_bytes()];
        lanes.list().ckp.verify(SignLabel::Card, &parts, &wire.sig).map_err(|_| CardError::Malformed)?;
        Self::assemble(lanes, wire.secret, wire.expires, wire.sig)
    }
}

impl From<Card> for CardWire {
    fn from(card: Card) -> Self {
        Self { lanes: card.lanes.into_signed(), secret: card.secret, expires: card.expires, sig: card.sig }
    }
}
