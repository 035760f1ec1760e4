//! The first opening: issuing and taking cards, answering, confirming.

use std::collections::VecDeque;

use super::budget::Budget;
use super::event::{ContactError, ContactEvent, Outgoing, Output, Received};
use super::renew::Numbers;
use super::sequence::{Got, Sent};
use super::state::{
    CardOut, Confirming, Contact, Early, Listening, Mailbox, Me, Modes, Peer, Phase, PrekeySecrets, Session,
    Told,
};
use crate::card::{CARD_GRACE, Card, CardSecrets};
use crate::crypto::{DhSecret, HashLabel, KemPublic, KemSecret, Random, SigningKey, hash};
use crate::lane::{LaneEntry, ServerRef, VerifiedLaneList};
use crate::message::{Confirm, Content, Prekeys};
use crate::opening::{Handshake, Initiate, MAX_GREETING, Opened, OpeningError, Respond, Role, Terms};
use crate::policy::Padding;
use crate::wire::{Fixed, Text};

/// Pairs of prekeys that are kept: the newest, and those that an older copy of the other side may still hold. One
/// that was used counts as newest again, since the same copy may be restored more than once.
const KEPT_PREKEYS: usize = 4;

impl Contact {
    /// A contact to be, whose card is out.
    pub fn issue(secrets: CardSecrets, card: Card) -> Self {
        let servers = card.lane().lookup.servers().cloned().collect();
        let mut contact = Self::fresh(&secrets, card.lanes().clone(), servers);
        contact.phase = Phase::CardOut(Box::new(CardOut { secrets, card }));
        contact
    }

    /// A contact to be, whose card is taken: gives the answer to deposit. `lanes` is the own first lane list of
    /// `secrets`, `kem` the key that goes with the card.
    ///
    /// # Errors
    /// [`ContactError::Opening`] for keys that do not hold or without randomness.
    pub fn take(
        secrets: CardSecrets,
        lanes: VerifiedLaneList,
        card: &Card,
        kem: &KemPublic,
        greeting: Text<MAX_GREETING>,
        random: &mut dyn Random,
    ) -> Result<(Self, Outgoing), ContactError> {
        let own = lanes.list().lanes.first();
        let servers = own.map(|lane| lane.lookup.servers().cloned().collect()).unwrap_or_default();
        let made = Initiate::answer(
            Terms::answer(card)?,
            (&card.lane().prekey, kem),
            &secrets.prekey,
            &secrets.ckp,
            &lanes,
            greeting,
        )
        .seal(random)?;
        let mut contact = Self::fresh(&secrets, lanes, servers);
        contact.peer = Some(Peer::new(card.lanes().clone(), card.lane()));
        contact.session = Some(Session::new(made.ratchet, &made.handshake));
        contact.phase = Phase::Confirming(Box::new(Confirming {
            handshake: made.handshake,
            signer: Some(secrets.ckp.clone()),
            renewal: false,
            last: 0,
        }));
        Ok((contact, Outgoing { seq: 0, item: made.item }))
    }

    fn fresh(secrets: &CardSecrets, lanes: VerifiedLaneList, servers: Vec<ServerRef>) -> Self {
        Self {
            id: secrets.contact_id,
            me: Me {
                ckp: secrets.ckp.public(),
                close: secrets.close,
                lane: secrets.lane.clone(),
                lanes: lanes.into(),
                lookup: secrets.lookup.clone(),
                mailboxes: servers.into_iter().map(|server| Mailbox::new(&secrets.lookup, server)).collect(),
                prekeys: VecDeque::new(),
            },
            peer: None,
            phase: Phase::Established,
            session: None,
            former: VecDeque::new(),
            early: Early::default(),
            sent: Sent::default(),
            got: Got::default(),
            modes: Modes::default(),
            told: Told::default(),
            listening: Listening::default(),
            accepted: VecDeque::new(),
            budget: Budget::default(),
            verified: false,
            thin: false,
            padding: Padding::default(),
        }
    }

    pub(super) fn receive_opening(
        &mut self,
        item: &[u8],
        now_ms: u64,
        random: &mut dyn Random,
    ) -> Result<Received, ContactError> {
        match &self.phase {
            Phase::CardOut(out) => {
                if now_ms / 1000 > out.card.expires().saturating_add(CARD_GRACE) {
                    return Ok(Received::Unreadable);
                }
                let tried = Respond::answer(
                    Terms::answer(&out.card)?,
                    (&out.secrets.prekey, &out.secrets.kem),
                    &self.me.ckp,
                )
                .open(item, random);
                match tried {
                    Ok(opened) => {
                        self.accepted.push_back(Fixed(hash(HashLabel::Item, &[item])));
                        let signer = out.secrets.ckp.clone();
                        Ok(Received::Opened(self.answer(opened, &signer, random)?))
                    }
                    Err(OpeningError::Rejected) => Ok(Received::Unreadable),
                    Err(e) => Err(e.into()),
                }
            }
            _ => self.receive_renewal(item, now_ms, random),
        }
    }

    /// Our card was answered: its secrets are used up, and our Confirm goes out.
    fn answer(
        &mut self,
        opened: Opened,
        signer: &SigningKey,
        random: &mut dyn Random,
    ) -> Result<Output, ContactError> {
        let mut output = Output::default();
        let lane = opened.lanes.list().lanes.first().cloned().ok_or(ContactError::NotEstablished)?;
        self.peer = Some(Peer::new(opened.lanes, &lane));
        self.session = Some(Session::new(opened.ratchet, &opened.handshake));
        if !opened.statement.greeting.is_empty() {
            output.events.push(ContactEvent::Greeting(opened.statement.greeting));
        }
        output.items.push(self.send_confirm(&opened.handshake, signer, 0, random)?);
        self.phase = Phase::Confirming(Box::new(Confirming {
            handshake: opened.handshake,
            signer: None,
            renewal: false,
            last: 0,
        }));
        Ok(output)
    }

    /// Our confirmation of an opening, with fresh prekeys. Digests of our messages start behind `base`.
    pub(super) fn send_confirm(
        &mut self,
        handshake: &Handshake,
        signer: &SigningKey,
        base: u64,
        random: &mut dyn Random,
    ) -> Result<Outgoing, ContactError> {
        let peer = self.peer.as_ref().ok_or(ContactError::NotEstablished)?;
        let fresh = PrekeySecrets { prekey: DhSecret::generate(random)?, kem: KemSecret::generate(random)? };
        let prekeys =
            Prekeys::sign(fresh.prekey.public(), fresh.kem.public(), &self.me.ckp, &peer.ckp, &self.me.lane);
        self.me.prekeys.push_back(fresh);
        while self.me.prekeys.len() > KEPT_PREKEYS {
            self.me.prekeys.pop_front();
        }
        let (sig, mac) = handshake.confirmation(signer);
        let confirm = Confirm { sig, mac, prekeys, have: self.got.have(), next: self.got.top + 1, base };
        Ok(self.send_any(&Content::Confirm(Box::new(confirm)), random)?)
    }

    /// The other side's confirmation. One that was not asked for, or does not hold, changes nothing.
    pub(super) fn note_confirm(
        &mut self,
        confirm: Confirm,
        random: &mut dyn Random,
        output: &mut Output,
    ) -> Result<(), ContactError> {
        let waiting = match std::mem::replace(&mut self.phase, Phase::Established) {
            Phase::Confirming(w) if self.confirms(&w.handshake, w.renewal, &confirm) => w,
            other => {
                self.phase = other;
                return Ok(());
            }
        };
        if let Some(peer) = &mut self.peer {
            peer.prekeys = Some(confirm.prekeys);
        }
        let numbers = Numbers { have: confirm.have, next: confirm.next, base: confirm.base };
        match (waiting.handshake.role(), waiting.renewal) {
            (Role::Initiator, false) => {
                let signer = waiting.signer.as_ref().ok_or(ContactError::NotEstablished)?;
                output.items.push(self.send_confirm(&waiting.handshake, signer, 0, random)?);
                output.events.push(ContactEvent::Established);
                Ok(())
            }
            (Role::Responder, false) => {
                output.events.push(ContactEvent::Established);
                Ok(())
            }
            (_, true) => self.finish_renewal(&waiting, numbers, random, output),
        }
    }

    fn confirms(&self, handshake: &Handshake, renewal: bool, confirm: &Confirm) -> bool {
        let Some(peer) = &self.peer else { return false };
        let by = if renewal { &peer.lane } else { &peer.ckp };
        handshake.check(by, &confirm.sig, &confirm.mac).is_ok()
            && confirm.prekeys.verify(&peer.ckp, &self.me.ckp, &peer.lane).is_ok()
    }
}

impl Peer {
    fn new(lanes: VerifiedLaneList, lane: &LaneEntry) -> Self {
        Self {
            ckp: lanes.list().ckp,
            lane: lane.key,
            lanes: lanes.into(),
            target: lane.lookup.clone(),
            target_at: 0,
            seen: 0,
            prekeys: None,
        }
    }
}

impl Session {
    fn new(ratchet: crate::ratchet::Ratchet, first: &Handshake) -> Self {
        let transcript = crate::wire::Fixed(*first.transcript());
        Self { ratchet, transcript, secret: first.contact_secret().clone() }
    }
}
