//! Receiving: opening, checking, placing and acting on an item.

use super::event::{ContactError, ContactEvent, Output, Received};
use super::sequence::Place;
use super::state::{Contact, Phase};
use crate::crypto::Random;
use crate::message::{Body, Content, Seen};
use crate::ratchet::{Numbers, Ratchet, RatchetError, Step};
use crate::request::THIN_ITEM_SIZES;
use crate::wire::Suite;

/// Most messages that are shown before the other side has sent them again under new keys.
const MAX_EARLY: usize = 2_000;

/// Which ratchet opened a message.
#[derive(Clone, Copy)]
enum Which {
    Current,
    Former(usize),
}

/// What a message holds.
enum Plain {
    Whole(Vec<u8>),
    Thin(Vec<u8>, Option<Numbers>),
}

/// The length alone tells a thin item from others, and both forms bind which they are.
fn decrypt(ratchet: &Ratchet, ad: &[u8; 32], item: &[u8]) -> Result<(Plain, Step), RatchetError> {
    if THIN_ITEM_SIZES.contains(&item.len()) {
        let opened = ratchet.decrypt_thin(ad, item)?;
        return Ok((Plain::Thin(opened.plaintext, opened.implied), opened.step));
    }
    let (plain, step) = ratchet.decrypt(ad, item)?;
    Ok((Plain::Whole(plain), step))
}

impl Contact {
    /// Takes one item from a mailbox of this contact. `now_ms` is in Unix milliseconds.
    ///
    /// # Errors
    /// Only what keeps this side from answering; bad input is [`Received::Unreadable`].
    pub fn receive(
        &mut self,
        item: &[u8],
        now_ms: u64,
        random: &mut dyn Random,
    ) -> Result<Received, ContactError> {
        match item.first() {
            _ if THIN_ITEM_SIZES.contains(&item.len()) => self.receive_message(item, now_ms, random),
            Some(first) if *first == Suite::Ratchet.byte() => self.receive_message(item, now_ms, random),
            Some(first) if *first == Suite::Opening.byte() => self.receive_opening(item, now_ms, random),
            _ => Ok(Received::Unreadable),
        }
    }

    fn receive_message(
        &mut self,
        item: &[u8],
        now_ms: u64,
        random: &mut dyn Random,
    ) -> Result<Received, ContactError> {
        let Some((which, plain, mut step)) = (match self.open(item) {
            Ok(opened) => Some(opened),
            Err(RatchetError::Repeated) => return Ok(Received::Duplicate),
            Err(RatchetError::Crypto(e)) => return Err(e.into()),
            Err(_) => None,
        }) else {
            return Ok(Received::Unreadable);
        };
        let Some(body) = self.check(&plain, which) else { return Ok(Received::Unreadable) };
        let place = self.got.place(body.seq);
        if place == Place::Refused {
            return Ok(Received::Unreadable);
        }
        step.numbered(Numbers { seq: body.seq, epoch: body.epoch });
        match which {
            Which::Current => {
                if let Some(session) = &mut self.session {
                    session.ratchet.apply(step)?;
                }
            }
            Which::Former(i) => {
                if let Some(ratchet) = self.former.get_mut(i) {
                    ratchet.apply(step)?;
                }
            }
        }
        let mut output = Output::default();
        if place == Place::Repeated {
            return Ok(Received::Opened(output));
        }
        if matches!(which, Which::Former(_)) && body.seq >= self.early.from {
            self.show_early(body, &mut output)?;
            return Ok(Received::Opened(output));
        }
        self.got.mark(body.seq);
        match place {
            Place::New { missing: Some((from, to)) } => {
                output.events.push(ContactEvent::Missing { from, to })
            }
            Place::Filled => output.events.push(ContactEvent::Found { seq: body.seq }),
            _ => {}
        }
        // What an older ratchet says of our numbering was true before the renewal, and a Confirm may begin one.
        if matches!(which, Which::Current) && !matches!(body.content, Content::Confirm(_)) {
            if body.seen > self.sent.last() {
                output.events.push(ContactEvent::Behind);
            } else if !self.sent.agrees(body.seen, &body.digest) {
                output.events.push(ContactEvent::Fork);
            }
            self.note_seen(body.seen, &mut output);
        }
        let (seq, content) = (body.seq, body.content.clone());
        self.act(body, now_ms, random, &mut output)?;
        self.got.digest(seq, &content)?;
        Ok(Received::Opened(output))
    }

    fn open(&self, item: &[u8]) -> Result<(Which, Plain, Step), RatchetError> {
        let ad = self.parties().ok_or(RatchetError::NotStarted)?.turned().associated_data();
        let session = self.session.as_ref().ok_or(RatchetError::NotStarted)?;
        let mut repeated = match decrypt(&session.ratchet, &ad, item) {
            Ok((plain, step)) => return Ok((Which::Current, plain, step)),
            Err(RatchetError::Crypto(e)) => return Err(e.into()),
            Err(e) => e == RatchetError::Repeated,
        };
        for (i, ratchet) in self.former.iter().enumerate() {
            match decrypt(ratchet, &ad, item) {
                Ok((plain, step)) => return Ok((Which::Former(i), plain, step)),
                Err(e) => repeated |= e == RatchetError::Repeated,
            }
        }
        Err(if repeated { RatchetError::Repeated } else { RatchetError::Rejected })
    }

    /// The body, if it is well-formed, signed as it must be, and allowed in this phase.
    fn check(&self, plain: &Plain, which: Which) -> Option<Body> {
        let body = match plain {
            Plain::Whole(plain) => Body::from_padded(plain).ok()?,
            Plain::Thin(plain, implied) => Body::from_thin(plain, *implied, self.sent.last()).ok()?,
        };
        let peer = self.peer.as_ref()?;
        let unsigned_may_come =
            self.modes.theirs && (self.modes.mine || self.modes.signed_since > self.seen_by_contact());
        let parties = self.parties()?.turned();
        body.check_signature(&parties, &peer.lane, !unsigned_may_come).ok()?;
        // Nothing but Confirms travels on fresh keys before they are confirmed.
        let confirmed = matches!(self.phase, Phase::Established);
        let fresh = matches!(which, Which::Current) && !confirmed;
        (!fresh || matches!(body.content, Content::Confirm(_))).then_some(body)
    }

    fn act(
        &mut self,
        body: Body,
        now_ms: u64,
        random: &mut dyn Random,
        output: &mut Output,
    ) -> Result<(), ContactError> {
        match body.content {
            Content::Empty => {}
            Content::Receipt(receipt) => self.note_receipt(&receipt, now_ms, output),
            Content::Confirm(confirm) => self.note_confirm(*confirm, random, output)?,
            Content::Lookup(lookup) => {
                self.note_lookup(body.seq, *lookup);
                // The old mailbox waits for our answer.
                self.told.owed = true;
            }
            Content::Mode { deniable } => self.note_mode(body.seq, deniable),
            // As a message that was listened to: keys turn in cover traffic too. Nothing is owed for it.
            Content::Cover => self.listened(now_ms),
            Content::Direct(offer) => output.events.push(ContactEvent::Direct { seq: body.seq, offer }),
            shown => {
                self.listened(now_ms);
                self.told.owed = true;
                let early = self.early.shown.remove(&body.seq);
                if early.is_none() || early != Some(Seen::item(&shown)?) {
                    output.events.push(ContactEvent::Message { seq: body.seq, content: shown });
                }
            }
        }
        Ok(())
    }

    fn listened(&mut self, now_ms: u64) {
        if self.listening.messages == 0 {
            self.listening.since_ms = now_ms;
        }
        self.listening.messages = self.listening.messages.saturating_add(1);
    }

    /// Shows what came under a former ratchet without counting it as received: the other side was told that it
    /// was not. Statements of the protocol are made again after the renewal.
    fn show_early(&mut self, body: Body, output: &mut Output) -> Result<(), ContactError> {
        let item = Seen::item(&body.content)?;
        let known = self.early.shown.contains_key(&body.seq);
        if body.content.is_shown() && !known && self.early.shown.len() < MAX_EARLY {
            self.early.shown.insert(body.seq, item);
            output.events.push(ContactEvent::Message { seq: body.seq, content: body.content });
        }
        Ok(())
    }
}
