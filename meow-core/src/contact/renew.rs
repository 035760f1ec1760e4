//! Renewals: fresh keys with a contact, after a store was found to be older than its server remembers.

use super::event::{ContactError, ContactEvent, Outgoing, Output, Received};
use super::state::{Confirming, Contact, Modes, Phase};
use crate::crypto::{HashLabel, Random, hash};
use crate::lane::Lookup;
use crate::message::{Content, Parties};
use crate::opening::{Initiate, KnownPeer, Opened, OpeningError, Respond, Role, Terms};
use crate::ratchet::Ratchet;
use crate::wire::Fixed;

/// Ratchets that are kept for stragglers.
const KEPT_RATCHETS: usize = 2;
/// Accepted renewals that are remembered. Older ones are sealed to prekeys that are long gone.
const KEPT_ACCEPTED: usize = 256;
/// Messages that are sent again at most after a renewal.
const MAX_RESENT: u64 = 10_000;
/// A contact that claims to have seen more than this of ours lies.
const MAX_NEXT: u64 = 1 << 61;

/// What a side says of the numbering.
pub(super) struct Numbers {
    /// It has every message of ours up to here.
    pub(super) have: u64,
    /// We go on here at least.
    pub(super) next: u64,
    /// Digests of its messages start behind this.
    pub(super) base: u64,
}

impl Contact {
    /// Makes fresh keys with the contact. Nothing else is sent until it has confirmed.
    ///
    /// # Errors
    /// [`ContactError::NotEstablished`] before the first Confirm, [`ContactError::Opening`].
    pub fn begin_renewal(&mut self, random: &mut dyn Random) -> Result<Outgoing, ContactError> {
        let parties = self.parties().ok_or(ContactError::NotEstablished)?;
        let lookup = self.own_lookup()?;
        let lanes = self.me.lanes.verified()?;
        let session = self.session.as_mut().ok_or(ContactError::NotEstablished)?;
        let peer = self.peer.as_ref().ok_or(ContactError::NotEstablished)?;
        let prekeys = peer.prekeys.as_ref().ok_or(ContactError::NotEstablished)?;
        let made = Initiate::renewal(
            Terms::renewal(&session.secret, &parties),
            (&prekeys.prekey, &prekeys.kem),
            &self.me.lane,
            &lanes,
            lookup,
            (self.got.have(), self.got.top + 1),
        )
        .seal(random)?;
        // The old ratchet sends no more, but what is under way from the other side still opens.
        let old = std::mem::replace(&mut session.ratchet, made.ratchet);
        self.keep_former(old);
        self.phase = Phase::Confirming(Box::new(Confirming {
            handshake: made.handshake,
            signer: Some(self.me.lane.clone()),
            renewal: true,
            last: self.sent.last(),
        }));
        Ok(Outgoing { seq: 0, item: made.item })
    }

    pub(super) fn receive_renewal(
        &mut self,
        item: &[u8],
        now_ms: u64,
        random: &mut dyn Random,
    ) -> Result<Received, ContactError> {
        let digest = Fixed(hash(HashLabel::Item, &[item]));
        if self.accepted.contains(&digest) {
            return Ok(Received::Duplicate);
        }
        let Some(parties) = self.parties() else { return Ok(Received::Unreadable) };
        let Some((opened, pair)) = self.try_renewal(item, &parties, random)? else {
            return Ok(Received::Unreadable);
        };
        if self.won(&parties) {
            // Both began: the other side drops its own and answers ours. What it said of its mailboxes holds: without it
            // ours could wait at one that is gone.
            self.remember(digest);
            self.deposit_at(opened.statement.mailbox);
            return Ok(Received::Opened(Output::default()));
        }
        if !self.budget.take(now_ms) {
            return Ok(Received::Opened(self.hold_renewal(item)));
        }
        self.remember(digest);
        self.drop_held();
        if let Some(used) = self.me.prekeys.remove(pair) {
            self.me.prekeys.push_back(used);
        }
        Ok(Received::Opened(self.accept_renewal(opened, random)?))
    }

    /// Answers the renewal that waited, where it is due by now ([`renewal_due`](Self::renewal_due)). Only for a
    /// store that is proven current.
    ///
    /// # Errors
    /// Those of [`receive`](Self::receive).
    pub fn resume_renewal(&mut self, now_ms: u64, random: &mut dyn Random) -> Result<Output, ContactError> {
        if !self.renewal_due(now_ms) {
            return Ok(Output::default());
        }
        let Some(item) = self.budget.release() else { return Ok(Output::default()) };
        match self.receive_renewal(&item, now_ms, random)? {
            Received::Opened(output) => Ok(output),
            // Its prekeys are gone since: the contact begins anew when nothing answers.
            Received::Duplicate | Received::Unreadable => Ok(Output::default()),
        }
    }

    /// A renewal of the contact waits that may be answered now.
    pub fn renewal_due(&self, now_ms: u64) -> bool {
        self.budget.due(now_ms)
    }

    fn hold_renewal(&mut self, item: &[u8]) -> Output {
        let (former, tell) = self.budget.hold(item);
        if let Some(former) = former.filter(|f| f != item) {
            self.remember(Fixed(hash(HashLabel::Item, &[&former])));
        }
        Output { items: Vec::new(), events: tell.then_some(ContactEvent::RenewalHeld).into_iter().collect() }
    }

    /// What waits was overtaken: the contact has given it up.
    fn drop_held(&mut self) {
        if let Some(item) = self.budget.release() {
            self.remember(Fixed(hash(HashLabel::Item, &[&item])));
        }
    }

    fn try_renewal(
        &self,
        item: &[u8],
        parties: &Parties,
        random: &mut dyn Random,
    ) -> Result<Option<(Opened, usize)>, ContactError> {
        let (Some(peer), Some(session)) = (&self.peer, &self.session) else { return Ok(None) };
        for (pair, own) in self.me.prekeys.iter().enumerate().rev() {
            let tried = Respond::renewal(
                Terms::renewal(&session.secret, &parties.turned()),
                (&own.prekey, &own.kem),
                &self.me.ckp,
                KnownPeer { ckp: &peer.ckp, lane: &peer.lane },
            )
            .open(item, random);
            match tried {
                Ok(opened) => return Ok(Some((opened, pair))),
                Err(OpeningError::Rejected) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(None)
    }

    /// Our own renewal is under way and goes first: the lower lane id does.
    fn won(&self, parties: &Parties) -> bool {
        let ours = matches!(&self.phase, Phase::Confirming(c) if c.renewal && c.signer.is_some());
        ours && parties.from_lane.as_bytes() < parties.to_lane.as_bytes()
    }

    fn accept_renewal(&mut self, opened: Opened, random: &mut dyn Random) -> Result<Output, ContactError> {
        let statement = opened.statement;
        let session = self.session.as_mut().ok_or(ContactError::NotEstablished)?;
        let old = std::mem::replace(&mut session.ratchet, opened.ratchet);
        self.keep_former(old);
        self.deposit_at(statement.mailbox);
        let last = self.sent.last();
        let base = self.restart_sent(opened.handshake.transcript(), last, statement.next);
        let lane = self.me.lane.clone();
        let confirm = self.send_confirm(&opened.handshake, &lane, base, random)?;
        self.phase = Phase::Confirming(Box::new(Confirming {
            handshake: opened.handshake,
            signer: None,
            renewal: true,
            last,
        }));
        Ok(Output { items: vec![confirm], events: Vec::new() })
    }

    /// What a renewal says of where the contact's mailboxes are.
    fn deposit_at(&mut self, mailbox: Option<Lookup>) {
        if let (Some(peer), Some(lookup)) = (&mut self.peer, mailbox) {
            peer.target = lookup;
            // Statements that are still under way are older, except when this side lost some.
            peer.target_at = self.got.top;
        }
    }

    /// The other side has confirmed fresh keys: numbers and digests go on from what both know.
    pub(super) fn finish_renewal(
        &mut self,
        waiting: &Confirming,
        theirs: Numbers,
        random: &mut dyn Random,
        output: &mut Output,
    ) -> Result<(), ContactError> {
        let transcript = waiting.handshake.transcript();
        self.got.restart(transcript, theirs.base);
        // Both sides start over signed; the driver says again what it wishes.
        self.modes = Modes::default();
        let lookup = self.own_lookup()?;
        self.sent.keep_current(&lookup);
        match waiting.handshake.role() {
            Role::Initiator => {
                // With its answer to ours the contact dropped its own.
                self.drop_held();
                let base = self.restart_sent(transcript, waiting.last, theirs.next);
                let signer = waiting.signer.as_ref().ok_or(ContactError::NotEstablished)?;
                output.items.push(self.send_confirm(&waiting.handshake, signer, base, random)?);
            }
            // The initiator may have lost where to deposit.
            Role::Responder => {
                output.items.push(self.send_any(&Content::Lookup(Box::new(lookup)), random)?);
            }
        }
        output.events.push(ContactEvent::Renewed);
        let from = theirs.have.saturating_add(1).max(waiting.last.saturating_sub(MAX_RESENT - 1));
        if from <= waiting.last {
            output.events.push(ContactEvent::Resend { from, to: waiting.last });
        }
        Ok(())
    }

    /// Starts the digests of our messages anew, and goes on numbering where the other side says at least.
    /// Returns the base.
    fn restart_sent(&mut self, transcript: &[u8; 32], last: u64, next: u64) -> u64 {
        let next = next.min(MAX_NEXT);
        let base = next.saturating_sub(1).max(last.saturating_sub(MAX_RESENT));
        self.sent.restart(transcript, base, next);
        base
    }

    fn keep_former(&mut self, ratchet: Ratchet) {
        self.early.from = self.got.top + 1;
        self.former.push_front(ratchet);
        self.former.truncate(KEPT_RATCHETS);
    }

    fn remember(&mut self, digest: Fixed<32>) {
        self.accepted.push_back(digest);
        while self.accepted.len() > KEPT_ACCEPTED {
            self.accepted.pop_front();
        }
    }
}
