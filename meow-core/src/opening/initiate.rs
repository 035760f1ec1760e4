//! The initiator's side.

use super::confirm::{Handshake, OPENED, Role};
use super::payload::{MAX_GREETING, Payload, Statement};
use super::{Agreement, Head, OpeningError, OwnShare, Purpose, Terms};
use crate::crypto::{DhPublic, DhSecret, KemPublic, Random, SignLabel, SigningKey, seal_siv};
use crate::lane::{Lookup, VerifiedLaneList};
use crate::ratchet::Ratchet;
use crate::wire::{Text, Wire};

/// What an opening is made from.
#[derive(Debug)]
pub struct Initiate<'a> {
    terms: Terms,
    prekey: &'a DhPublic,
    kem: &'a KemPublic,
    /// The private half of PI; the first Ekp takes its place in a renewal.
    own_prekey: Option<&'a DhSecret>,
    signer: &'a SigningKey,
    lanes: &'a VerifiedLaneList,
    mailbox: Option<Lookup>,
    have: u64,
    next: u64,
    greeting: Text<MAX_GREETING>,
}

/// A finished opening.
#[derive(Debug)]
pub struct Initiated {
    /// To be deposited, the same bytes at every attempt.
    pub item: Vec<u8>,
    /// To be kept until the responder's confirmation came.
    pub handshake: Handshake,
    /// The ratchet; the responder sends first.
    pub ratchet: Ratchet,
}

impl<'a> Initiate<'a> {
    /// The answer to a card: `prekey` and `kem` are those of the card's lane, `own_prekey` belongs to the one
    /// lane of `lanes`, and `ckp` signs.
    pub fn answer(
        terms: Terms,
        (prekey, kem): (&'a DhPublic, &'a KemPublic),
        own_prekey: &'a DhSecret,
        ckp: &'a SigningKey,
        lanes: &'a VerifiedLaneList,
        greeting: Text<MAX_GREETING>,
    ) -> Self {
        let (own_prekey, mailbox) = (Some(own_prekey), None);
        Self { terms, prekey, kem, own_prekey, signer: ckp, lanes, mailbox, have: 0, next: 1, greeting }
    }

    /// Fresh keys with a contact: `prekey` and `kem` are its newest, `lane` is the own lane key, which signs;
    /// `have` and `next` are as in [`Statement`].
    pub fn renewal(
        terms: Terms,
        (prekey, kem): (&'a DhPublic, &'a KemPublic),
        lane: &'a SigningKey,
        lanes: &'a VerifiedLaneList,
        mailbox: Lookup,
        (have, next): (u64, u64),
    ) -> Self {
        let (own_prekey, greeting) = (None, Text::default());
        Self {
            terms,
            prekey,
            kem,
            own_prekey,
            signer: lane,
            lanes,
            mailbox: Some(mailbox),
            have,
            next,
            greeting,
        }
    }

    /// Makes the opening.
    ///
    /// # Errors
    /// [`OpeningError::Crypto`] without randomness or for a prekey of low order, [`OpeningError::Wire`]
    /// when the lanes do not fit into one item, [`OpeningError::Rejected`] when the terms are of the other
    /// purpose.
    pub fn seal(self, random: &mut dyn Random) -> Result<Initiated, OpeningError> {
        if (self.terms.purpose == Purpose::Answer) != self.own_prekey.is_some() {
            return Err(OpeningError::Rejected);
        }
        let ephemeral = DhSecret::generate(random)?;
        let ekp = DhSecret::generate(random)?;
        let (ciphertext, shared) = self.kem.encapsulate(random)?;
        let head = Head { ephemeral: ephemeral.public(), ciphertext };
        let public = ekp.public();
        let agreement = Agreement {
            terms: &self.terms,
            head: &head,
            prekey: *self.prekey,
            kem: self.kem.digest(),
            dh1: ephemeral.agree(self.prekey)?,
            shared,
        };
        let statement = Statement {
            lanes: self.lanes.signed().clone(),
            ekp: public,
            mailbox: self.mailbox,
            have: self.have,
            next: self.next,
            greeting: self.greeting,
        };
        let transcript = agreement.transcript(&statement.to_wire()?);
        let sig = self.signer.sign(SignLabel::Transcript, &[&transcript, &[OPENED]]);
        let (own_prekey, own_public) = self.own_prekey.map_or((&ekp, public), |own| (own, own.public()));
        let share = OwnShare { prekey: own_public, ekp: public, dh2: own_prekey.agree(self.prekey)? };
        let (handshake, keys) = agreement.finish(Role::Initiator, transcript, &share);

        let plain = Payload { statement, sig }.to_padded()?;
        let mut item = head.to_bytes();
        let sealed = seal_siv(&agreement.payload_key(), &[0; 12], &item, &plain)?;
        item.extend(sealed);
        Ok(Initiated { item, handshake, ratchet: Ratchet::second(keys, ekp) })
    }
}
