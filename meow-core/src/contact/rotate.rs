//! Rotating the Lkp: both mailboxes are polled until the contact has seen the statement.

use super::event::{ContactError, ContactEvent, Outgoing, Output};
use super::state::{Contact, DepositTarget, Mailbox};
use crate::crypto::{Random, SigningKey, VerifyKey};
use crate::lane::ServerRef;
use crate::message::{Content, Lookup};
use crate::wire::{Fixed, List, WireError};

impl Contact {
    /// Moves to another mailbox, which is registered already. The contact deposits there once it has seen the
    /// statement.
    ///
    /// # Errors
    /// [`ContactError::Send`] before the contact is established, [`ContactError::Wire`] for more than four servers.
    pub fn begin_rotation(
        &mut self,
        lkp: SigningKey,
        token: [u8; 16],
        servers: Vec<ServerRef>,
        random: &mut dyn Random,
    ) -> Result<Outgoing, ContactError> {
        let lookup = Lookup {
            lkp: lkp.public(),
            token: Fixed(token),
            servers: List::new(servers.clone()).map_err(|_| WireError::TooLong)?,
        };
        let out = self.send(&Content::Lookup(Box::new(lookup)), random)?;
        self.add_mailbox(Mailbox { lkp, token: Fixed(token), servers, replaced_by: None }, out.seq);
        Ok(out)
    }

    /// Moves to another mailbox, which is registered already, without a statement of its own: the renewal that
    /// the driver begins next tells it.
    pub fn move_mailbox(&mut self, lkp: SigningKey, token: [u8; 16], servers: Vec<ServerRef>) {
        // The renewal comes before whatever gets this sequence.
        self.add_mailbox(Mailbox { lkp, token: Fixed(token), servers, replaced_by: None }, self.sent.next);
    }

    fn add_mailbox(&mut self, new: Mailbox, told_by: u64) {
        for old in &mut self.me.mailboxes {
            old.replaced_by.get_or_insert(told_by);
        }
        self.me.mailboxes.push(new);
    }

    /// The driver has closed a mailbox: it is polled no more.
    pub fn mailbox_closed(&mut self, lkp: &VerifyKey) {
        self.me.mailboxes.retain(|m| m.replaced_by.is_none() || m.lkp.public() != *lkp);
    }

    /// The sequence up to which the contact has said, in messages of its own, that it has everything of ours.
    pub fn seen_by_contact(&self) -> u64 {
        self.peer.as_ref().map_or(0, |p| p.seen)
    }

    pub(super) fn note_seen(&mut self, seen: u64, output: &mut Output) {
        let Some(peer) = &mut self.peer else { return };
        if seen <= peer.seen || seen >= self.sent.next {
            return;
        }
        peer.seen = seen;
        self.sent.forget(seen);
        for mailbox in &self.me.mailboxes {
            if mailbox.replaced_by.is_some_and(|s| s <= seen) {
                output.events.push(ContactEvent::CloseMailbox { lkp: mailbox.lkp.public() });
            }
        }
    }

    pub(super) fn note_lookup(&mut self, seq: u64, lookup: Lookup) {
        let Some(peer) = &mut self.peer else { return };
        // The newest statement counts, in whatever order they come.
        if seq >= peer.target_at {
            peer.target_at = seq;
            peer.target =
                DepositTarget { lkp: lookup.lkp, token: lookup.token, servers: lookup.servers.into_vec() };
        }
    }
}
