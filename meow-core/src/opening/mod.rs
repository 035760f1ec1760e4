//! Openings: the handshake that makes a ratchet between two lanes (spec, chapter "Opening").
//!
//! The initiator builds an [`Initiate`], seals it and deposits the item; the responder opens it with [`Respond`]. Both then hold a
//! [`Handshake`], to be stored until the other side's confirmation came, and a ratchet that nothing but
//! confirmations may travel through before. Not here: which card or contact an opening is tried against,
//! and what is remembered of it.

mod confirm;
mod initiate;
mod payload;
mod respond;
#[cfg(test)]
mod tests;

pub use confirm::{Handshake, Role};
pub use initiate::{Initiate, Initiated};
pub use payload::{MAX_GREETING, Statement};
pub use respond::{Opened, Respond};

use crate::card::Card;
use crate::crypto::{
    CryptoError, DhPublic, HashLabel, KEM_CIPHERTEXT, KeyLabel, Secret, VerifyKey, derive_keys, hash,
};
use crate::lane::LaneError;
use crate::message::Parties;
use crate::ratchet::RatchetKeys;
use crate::wire::{Suite, WireError};
use crate::{Error, ErrorKind};

/// Why an opening cannot be made or does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// It was not made for these keys, or was altered, or its maker is not who it names. Never told apart.
    #[error("the opening does not hold")]
    Rejected,
    /// A key or the source of randomness, when making one.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Too long for one item.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The own lane list cannot be encoded.
    #[error(transparent)]
    Lanes(#[from] LaneError),
}

impl From<OpeningError> for Error {
    fn from(e: OpeningError) -> Self {
        match e {
            OpeningError::Rejected => Error::new(
                ErrorKind::Malformed,
                "received keys do not hold; nothing was changed, wait for the contact to send them again",
            )
            .with_source(e),
            OpeningError::Crypto(e) => e.into(),
            OpeningError::Wire(e) => e.into(),
            OpeningError::Lanes(e) => e.into(),
        }
    }
}

/// What both sides of an opening know before it.
#[derive(Clone, Debug)]
pub struct Terms {
    purpose: Purpose,
    psk: Secret,
    context: [u8; 32],
}

/// What an opening is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Answer = 0,
    Renewal = 1,
}

impl Terms {
    /// The answer to a card: only who was handed the card can make it.
    ///
    /// # Errors
    /// [`OpeningError::Rejected`] for a card without an encoding, which none has that was decoded or signed.
    pub fn answer(card: &Card) -> Result<Self, OpeningError> {
        let context = card.hash().map_err(|_| OpeningError::Rejected)?;
        Ok(Self { purpose: Purpose::Answer, psk: card.secret().clone(), context })
    }

    /// Fresh keys between contacts: `secret` is [`Handshake::contact_secret`] of their first opening,
    /// `parties` name the initiator as sender.
    pub fn renewal(secret: &Secret, parties: &Parties) -> Self {
        Self { purpose: Purpose::Renewal, psk: secret.clone(), context: parties.associated_data() }
    }
}

const HEAD: usize = 1 + 32 + KEM_CIPHERTEXT;

/// The clear part of an item: outermost byte, ephemeral key, KEM ciphertext.
struct Head {
    ephemeral: DhPublic,
    ciphertext: Box<[u8; KEM_CIPHERTEXT]>,
}

impl Head {
    /// Splits an item into head, head bytes and sealed payload.
    fn split(item: &[u8]) -> Result<(Self, &[u8], &[u8]), OpeningError> {
        let rest = Suite::Opening.strip(item).map_err(|_| OpeningError::Rejected)?;
        let (ephemeral, rest) = rest.split_first_chunk().ok_or(OpeningError::Rejected)?;
        let (ciphertext, sealed) = rest.split_first_chunk().ok_or(OpeningError::Rejected)?;
        let head = Self {
            ephemeral: DhPublic::from_bytes(ephemeral).map_err(|_| OpeningError::Rejected)?,
            ciphertext: Box::new(*ciphertext),
        };
        Ok((head, item.get(..HEAD).unwrap_or_default(), sealed))
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&[Suite::Opening.byte()], self.ephemeral.as_bytes().as_slice(), self.ciphertext.as_slice()].concat()
    }
}

/// The secrets and public values that both sides derive from.
struct Agreement<'a> {
    terms: &'a Terms,
    head: &'a Head,
    /// PR.
    prekey: DhPublic,
    /// Digest of KR.
    kem: [u8; 32],
    /// X25519 of the ephemeral key and PR.
    dh1: Secret,
    /// From the KEM.
    shared: Secret,
}

impl Agreement<'_> {
    fn tag(&self) -> [u8; 2] {
        [Suite::Opening.byte(), self.terms.purpose as u8]
    }

    /// The key that seals the payload.
    fn payload_key(&self) -> Secret {
        let ikm = zeroize::Zeroizing::new([self.dh1.expose().as_slice(), self.shared.expose()].concat());
        let [suite, purpose] = self.tag();
        let context: [&[u8]; 6] = [
            &[suite],
            &[purpose],
            &self.terms.context,
            self.head.ephemeral.as_bytes(),
            self.prekey.as_bytes(),
            self.head.ciphertext.as_slice(),
        ];
        let [key] = derive_keys(KeyLabel::Opening, self.terms.psk.expose(), &ikm, &context);
        key
    }

    /// T: everything that was said.
    fn transcript(&self, statement: &[u8]) -> [u8; 32] {
        let [suite, purpose] = self.tag();
        hash(
            HashLabel::Transcript,
            &[
                &[suite],
                &[purpose],
                &self.terms.context,
                self.prekey.as_bytes(),
                &self.kem,
                self.head.ephemeral.as_bytes(),
                self.head.ciphertext.as_slice(),
                statement,
            ],
        )
    }

    /// The keys of the finished handshake.
    fn finish(&self, role: Role, transcript: [u8; 32], own: &OwnShare) -> (Handshake, RatchetKeys) {
        let ikm = zeroize::Zeroizing::new(
            [self.dh1.expose().as_slice(), own.dh2.expose(), self.shared.expose()].concat(),
        );
        let context: [&[u8]; 5] = [
            &transcript,
            own.prekey.as_bytes(),
            self.prekey.as_bytes(),
            self.head.ephemeral.as_bytes(),
            own.ekp.as_bytes(),
        ];
        let [root, header_first, header_second, contact_secret, confirm] =
            derive_keys(KeyLabel::Handshake, self.terms.psk.expose(), &ikm, &context);
        let handshake = Handshake::new(role, transcript, contact_secret, confirm);
        (handshake, RatchetKeys { root, header_first, header_second })
    }
}

/// What the initiator brings beside the ephemeral key.
struct OwnShare {
    /// PI.
    prekey: DhPublic,
    /// The initiator's first Ekp.
    ekp: DhPublic,
    /// X25519 of PI and PR.
    dh2: Secret,
}

/// The lane key and Ckp of a contact that is known already.
#[derive(Clone, Copy, Debug)]
pub struct KnownPeer<'a> {
    /// Its Ckp.
    pub ckp: &'a VerifyKey,
    /// The key of its lane.
    pub lane: &'a VerifyKey,
}
