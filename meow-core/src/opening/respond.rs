//! The responder's side.

use super::confirm::{Handshake, OPENED, Role};
use super::payload::{Payload, Statement};
use super::{Agreement, Head, KnownPeer, OpeningError, OwnShare, Purpose, Terms};
use crate::crypto::{CryptoError, DhPublic, DhSecret, KemSecret, Random, SignLabel, VerifyKey, open_siv};
use crate::lane::{LaneEntry, VerifiedLaneList};
use crate::ratchet::Ratchet;
use crate::wire::Wire;

/// What an opening is tried with.
#[derive(Debug)]
pub struct Respond<'a> {
    terms: Terms,
    prekey: &'a DhSecret,
    kem: &'a KemSecret,
    own_ckp: &'a VerifyKey,
    peer: Option<KnownPeer<'a>>,
}

/// An opening that holds.
#[derive(Debug)]
pub struct Opened {
    /// The initiator's lanes.
    pub lanes: VerifiedLaneList,
    /// What the initiator stated.
    pub statement: Statement,
    /// To be kept until the initiator's confirmation came.
    pub handshake: Handshake,
    /// The ratchet; this side sends first.
    pub ratchet: Ratchet,
}

impl<'a> Respond<'a> {
    /// For answers to an own card, with the prekeys of its lane and the own Ckp.
    pub fn answer(
        terms: Terms,
        (prekey, kem): (&'a DhSecret, &'a KemSecret),
        own_ckp: &'a VerifyKey,
    ) -> Self {
        Self { terms, prekey, kem, own_ckp, peer: None }
    }

    /// For renewals by a contact, with one pair of the own prekeys.
    pub fn renewal(
        terms: Terms,
        (prekey, kem): (&'a DhSecret, &'a KemSecret),
        own_ckp: &'a VerifyKey,
        peer: KnownPeer<'a>,
    ) -> Self {
        Self { terms, prekey, kem, own_ckp, peer: Some(peer) }
    }

    /// Opens and checks an item.
    ///
    /// # Errors
    /// [`OpeningError::Rejected`] for whatever does not hold; [`OpeningError::Crypto`] without randomness.
    pub fn open(self, item: &[u8], random: &mut dyn Random) -> Result<Opened, OpeningError> {
        let (head, clear, sealed) = Head::split(item)?;
        let (shared, kem) = self.kem.decapsulate(&head.ciphertext);
        let agreement = Agreement {
            terms: &self.terms,
            prekey: self.prekey.public(),
            kem,
            dh1: self.prekey.agree(&head.ephemeral).map_err(|_| OpeningError::Rejected)?,
            shared,
            head: &head,
        };
        let plain = open_siv(&agreement.payload_key(), &[0; 12], clear, sealed)
            .map_err(|_| OpeningError::Rejected)?;
        let Payload { statement, sig } = Payload::from_padded(&plain)?;
        let transcript = agreement.transcript(&statement.to_wire()?);
        let lanes = statement.lanes.clone().verify().map_err(|_| OpeningError::Rejected)?;
        let (signer, own_prekey) = self.check(&lanes, &statement)?;
        signer
            .verify(SignLabel::Transcript, &[&transcript, &[OPENED]], &sig)
            .map_err(|_| OpeningError::Rejected)?;

        let share = OwnShare {
            prekey: own_prekey,
            ekp: statement.ekp,
            dh2: self.prekey.agree(&own_prekey).map_err(|_| OpeningError::Rejected)?,
        };
        let (handshake, keys) = agreement.finish(Role::Responder, transcript, &share);
        let ratchet = Ratchet::first(keys, &statement.ekp, random).map_err(|e| match e {
            // The Ekp is the peer's: when it is bad, so is the opening.
            CryptoError::BadKey => OpeningError::Rejected,
            other => other.into(),
        })?;
        Ok(Opened { lanes, statement, handshake, ratchet })
    }

    /// The rules of the purpose; gives the key that must have signed, and PI.
    fn check(
        &self,
        lanes: &VerifiedLaneList,
        statement: &Statement,
    ) -> Result<(VerifyKey, DhPublic), OpeningError> {
        let list = lanes.list();
        if list.ckp == *self.own_ckp {
            return Err(OpeningError::Rejected);
        }
        match (self.terms.purpose, self.peer) {
            (Purpose::Answer, None) => {
                let lane = first_lane(lanes).ok_or(OpeningError::Rejected)?;
                let plain = statement.mailbox.is_none() && statement.have == 0 && statement.next == 1;
                if plain { Ok((list.ckp, lane.prekey)) } else { Err(OpeningError::Rejected) }
            }
            (Purpose::Renewal, Some(peer)) => {
                let same = list.ckp == *peer.ckp && statement.mailbox.is_some();
                let fits = statement.greeting.is_empty() && statement.have < statement.next;
                if same && fits { Ok((*peer.lane, statement.ekp)) } else { Err(OpeningError::Rejected) }
            }
            _ => Err(OpeningError::Rejected),
        }
    }
}

/// The lane of a list as a card or an answer has it: epoch 0, one lane that can be reached, nothing revoked.
fn first_lane(lanes: &VerifiedLaneList) -> Option<&LaneEntry> {
    let list = lanes.list();
    match &*list.lanes {
        [lane] if list.epoch == 0 && list.revoked.is_empty() => {
            lane.lookup.servers().any(|s| s.urls().next().is_some()).then_some(lane)
        }
        _ => None,
    }
}
