//! Moving mailboxes: those that are left are polled until the contact has seen the statement.

use super::event::{ContactError, ContactEvent, Outgoing, Output};
use super::sequence::Superseded;
use super::state::{Contact, Mailbox};
use crate::crypto::{CryptoError, Random, VerifyKey};
use crate::lane::{Lookup, LookupSecrets, MAX_SERVERS, ServerRef};
use crate::message::Content;

/// Mailboxes as they are to be: to be registered before the contact is told.
#[derive(Clone, Debug)]
pub struct MailboxPlan {
    /// What was current when it was made.
    base: LookupSecrets,
    lookup: LookupSecrets,
    mailboxes: Vec<Mailbox>,
    /// Of the current ones, those that may stay where no new one can be had.
    spare: Vec<Mailbox>,
}

impl MailboxPlan {
    /// All of them, those that stay too.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// Goes without a new one at a server that does not take it now. The one that is there stays, unless it is the one that
    /// is gone: a server that answers no more must not be left because of another one's word.
    pub fn fall_back(&mut self, server: &[u8; 32]) {
        let at = |mailbox: &Mailbox| mailbox.server.fingerprint() == server;
        match (self.mailboxes.iter_mut().find(|new| at(new)), self.spare.iter().find(|old| at(old))) {
            (Some(new), Some(old)) => *new = old.clone(),
            _ => self.mailboxes.retain(|new| !at(new)),
        }
    }

    /// Plans a mailbox under fresh keys in the place of the new one at a server, which does not take that: the keys may have
    /// been used by a newer copy of this store that is lost. The others stay as they are planned.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]; the plan is as before then.
    pub fn make_anew(&mut self, server: &[u8; 32], random: &mut dyn Random) -> Result<(), CryptoError> {
        let lookup = self.lookup.renewed(random)?;
        if let Some(planned) = self.mailboxes.iter_mut().find(|m| m.server.fingerprint() == server) {
            *planned = Mailbox::new(&lookup, planned.server.clone());
            self.lookup = lookup;
        }
        Ok(())
    }

    fn lookup(&self) -> Result<Lookup, ContactError> {
        lookup(&self.lookup, self.mailboxes.iter())
    }
}

/// What the contact gets to see of these mailboxes.
fn lookup<'a>(
    secrets: &LookupSecrets,
    mailboxes: impl Iterator<Item = &'a Mailbox>,
) -> Result<Lookup, ContactError> {
    Ok(Lookup::new(secrets.wrap().clone(), mailboxes.map(Mailbox::place).collect())?)
}

impl Contact {
    /// Plans mailboxes on these servers, the preferred one first, at most [`MAX_SERVERS`]: all under new keys.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn plan_anew(
        &self,
        servers: impl IntoIterator<Item = ServerRef>,
        random: &mut dyn Random,
    ) -> Result<MailboxPlan, CryptoError> {
        let lookup = LookupSecrets::generate(random)?;
        let mailboxes =
            servers.into_iter().take(MAX_SERVERS).map(|server| Mailbox::new(&lookup, server)).collect();
        Ok(MailboxPlan { base: self.me.lookup.clone(), lookup, mailboxes, spare: Vec::new() })
    }

    /// Plans the same because a mailbox is gone for good. Of the others, each stays whose server takes no new one now
    /// ([`MailboxPlan::fall_back`]).
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn plan_without(
        &self,
        gone: &VerifyKey,
        servers: impl IntoIterator<Item = ServerRef>,
        random: &mut dyn Random,
    ) -> Result<MailboxPlan, CryptoError> {
        let lookup = self.me.lookup.renewed(random)?;
        let mailboxes =
            servers.into_iter().take(MAX_SERVERS).map(|server| Mailbox::new(&lookup, server)).collect();
        let spare = self.current_mailboxes().filter(|mailbox| mailbox.lkp.public() != *gone).cloned();
        Ok(MailboxPlan { base: self.me.lookup.clone(), lookup, mailboxes, spare: spare.collect() })
    }

    /// Plans mailboxes on these servers, the preferred one first, at most [`MAX_SERVERS`]: where there is one now, it stays.
    /// Made again it is the same, so that what was registered for one that came to nothing serves the next.
    pub fn plan_on(&self, servers: impl IntoIterator<Item = ServerRef>) -> MailboxPlan {
        let lookup = self.me.lookup.again();
        let on = |server: ServerRef| {
            let stays = self.current_mailboxes().find(|m| m.server.fingerprint() == server.fingerprint());
            match stays {
                Some(mailbox) => Mailbox { server, ..mailbox.clone() },
                None => Mailbox::new(&lookup, server),
            }
        };
        let mailboxes = servers.into_iter().take(MAX_SERVERS).map(on).collect();
        MailboxPlan { base: self.me.lookup.clone(), lookup, mailboxes, spare: Vec::new() }
    }

    /// Moves to the mailboxes of a plan, which are registered already. The contact deposits there once it has seen the
    /// statement. `None`, and nothing is changed, where mailboxes were moved since the plan was made.
    ///
    /// # Errors
    /// [`ContactError::Send`] before the contact is established, [`ContactError::Lanes`] where a server stands twice.
    pub fn begin_rotation(
        &mut self,
        plan: MailboxPlan,
        random: &mut dyn Random,
    ) -> Result<Option<Outgoing>, ContactError> {
        if plan.base != self.me.lookup {
            return Ok(None);
        }
        let out = self.send(&Content::Lookup(Box::new(plan.lookup()?)), random)?;
        self.adopt(plan, out.seq);
        Ok(Some(out))
    }

    /// Moves to the mailboxes of a plan, which are registered already, without a statement of its own: the renewal that
    /// the driver begins next tells it. False, and nothing is changed, where mailboxes were moved since the plan was made.
    pub fn move_mailboxes(&mut self, plan: MailboxPlan) -> bool {
        let holds = plan.base == self.me.lookup;
        if holds {
            // The renewal comes before whatever gets this sequence.
            self.adopt(plan, self.sent.next);
        }
        holds
    }

    fn adopt(&mut self, plan: MailboxPlan, told_by: u64) {
        let stays = |old: &Mailbox| plan.mailboxes.iter().any(|new| new.lkp.public() == old.lkp.public());
        self.me.mailboxes.retain(|old| !stays(old));
        for old in &mut self.me.mailboxes {
            old.replaced_by.get_or_insert(told_by);
        }
        self.me.mailboxes.extend(plan.mailboxes);
        self.me.lookup = plan.lookup;
    }

    /// A statement is not said again, and the contact may have lost it: what it replaced is left when a newer one is seen.
    pub(super) fn tell_later(&mut self, gone: Superseded) {
        for mailbox in self.me.mailboxes.iter_mut().filter(|m| m.replaced_by == Some(gone.seq)) {
            mailbox.replaced_by = Some(gone.by);
        }
    }

    /// Where this side wants to be written to.
    pub(super) fn own_lookup(&self) -> Result<Lookup, ContactError> {
        lookup(&self.me.lookup, self.current_mailboxes())
    }

    /// The mailboxes that the contact is, or is being, told of; the preferred one first.
    pub fn current_mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        self.me.mailboxes.iter().filter(|mailbox| mailbox.is_current())
    }

    /// The driver has closed a mailbox: it is polled no more.
    pub fn mailbox_closed(&mut self, lkp: &VerifyKey) {
        self.me.mailboxes.retain(|m| m.is_current() || m.lkp.public() != *lkp);
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
            peer.target = lookup;
        }
    }
}
