//! Processing mail: feeding what comes to the contact's machine, and making what comes of it durable.

use std::sync::Arc;

use meow_core::contact::{ContactEvent, Output, Received, Status};
use meow_core::crypto::VerifyKey;
use meow_core::crypto::{HashLabel, hash};
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::message::Content;
use meow_core::policy::Authenticity;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::copies::{acknowledged, forget_kept};
use crate::cover::at_moments;
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::outbox::{drop_superseded, put_again, put_items};
use crate::records::{ContactRecord, LogEntry, contact, load, next_number, ordered_key, save};
use crate::recover::may_renew;
use crate::used_card::note_used;

/// Items of one contact that do not open are kept up to this number, for a try with newer keys.
const MAX_ASIDE: usize = 64;
/// Hashes of processed items that are remembered per contact.
const MAX_DONE: usize = 2000;
impl Inner {
    /// Gives pulled items to the contact's machine, and makes what comes of them durable as one. At the end
    /// a receipt if the policy wants one, and a turn of keys if it is due.
    pub(crate) async fn process(self: &Arc<Self>, id: ContactId, items: Vec<Vec<u8>>) -> Result<()> {
        self.write(move |txn, inner| {
            let mut record = contact(txn, &id)?;
            let card = record.machine.card_out().cloned();
            let places = record.machine.deposit_target().cloned();
            let mut unreadable = false;
            for item in items {
                let done = item_key(&id, DONE, &item);
                if txn.get(Table::Items, &done)?.is_some() {
                    continue;
                }
                if inner.feed(txn, &id, &mut record, &item)? {
                    txn.put(Table::Items, &done, &[])?;
                    inner.retry_aside(txn, &id, &mut record)?;
                } else {
                    unreadable |= set_aside(txn, &id, item)?;
                }
            }
            if unreadable {
                // One for all of them: whoever can deposit could send any number.
                inner.emit(txn, &record.name, EventKind::Unreadable)?;
            }
            if let Some(card) = card.filter(|_| record.machine.card_out().is_none()) {
                note_used(txn, &id, &card)?;
            }
            trim_done(txn, &id)?;
            inner.resume(txn, &id, &mut record)?;
            acknowledged(txn, &id, &record.machine)?;
            if places.as_ref() != record.machine.deposit_target() {
                // What lies at servers that the contact has left may be lost with them.
                inner.assess_all(txn, &record, None)?;
                inner.outbox.notify_one();
            }
            inner.answer(txn, &id, &mut record)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await
    }

    /// Seals what is due by itself: the wish for (no) signatures, a receipt, a turn of keys. Only for a store
    /// that is proven current.
    pub(crate) fn answer(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
    ) -> Result<()> {
        if record.machine.status() != Status::Established {
            return Ok(());
        }
        self.choose_form(txn, record)?;
        let mut random = self.random.lock();
        let deniable = record.policy.authenticity == Authenticity::Deniable;
        let mode = record.machine.set_deniable(deniable, &mut *random)?;
        // With cover traffic a receipt or a turn that is due takes a moment at which nothing else waits.
        let (mut receipt, mut turn) = (None, None);
        if !at_moments(record) {
            receipt = record.machine.take_receipt(record.policy.receipts, &mut *random)?;
            turn = record.machine.tick(self.now_ms(), &mut *random)?;
        }
        drop(random);
        put_items(txn, self, id, [mode, receipt, turn].into_iter().flatten())?;
        self.offer(txn, id, record)
    }

    /// Answers a renewal of the contact that had to wait, once it is due. Only for a store that is proven current.
    pub(crate) fn resume(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
    ) -> Result<()> {
        let output = record.machine.resume_renewal(self.now_ms(), &mut *self.random.lock())?;
        self.absorb(txn, id, record, output)
    }

    /// True when the machine took the item, or knows it as a duplicate.
    fn feed(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        item: &[u8],
    ) -> Result<bool> {
        let received = record.machine.receive(item, self.now_ms(), &mut *self.random.lock())?;
        match received {
            Received::Opened(output) => {
                self.absorb(txn, id, record, output)?;
                Ok(true)
            }
            Received::Duplicate => Ok(true),
            Received::Unreadable => Ok(false),
        }
    }

    /// Tries again what did not open before: keys may have changed.
    fn retry_aside(&self, txn: &mut dyn StoreTxn, id: &ContactId, record: &mut ContactRecord) -> Result<()> {
        let prefix = item_prefix(id, ASIDE);
        let mut progress = true;
        while progress {
            progress = false;
            for (key, item) in txn.scan(Table::Items, &prefix, None, MAX_ASIDE, false)? {
                if self.feed(txn, id, record, &item)? {
                    txn.delete(Table::Items, &key)?;
                    txn.put(Table::Items, &item_key(id, DONE, &item), &[])?;
                    progress = true;
                }
            }
        }
        Ok(())
    }

    /// Puts what a machine gave into the transaction.
    pub(crate) fn absorb(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        output: Output,
    ) -> Result<()> {
        if output.events.contains(&ContactEvent::Renewed) {
            let again = output.events.iter().find_map(|e| match e {
                ContactEvent::Resend { from, .. } => Some(*from),
                _ => None,
            });
            drop_superseded(txn, id, again.unwrap_or(u64::MAX))?;
            forget_kept(txn, id)?;
        }
        put_items(txn, self, id, output.items)?;
        for event in output.events {
            self.absorb_event(txn, id, record, event)?;
        }
        Ok(())
    }

    fn absorb_event(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        event: ContactEvent,
    ) -> Result<()> {
        let kind = match event {
            ContactEvent::Message { seq, content } => {
                let message = MessageId(next_number(txn, b"message")?);
                let text = content.as_text().map(str::to_owned);
                let entry = LogEntry {
                    outgoing: false,
                    seq,
                    content: content.clone(),
                    at_ms: self.now_ms(),
                    delivery: Delivery::Decrypted,
                    waiting: String::new(),
                    alarmed: false,
                    way: None,
                };
                crate::log::add(txn, id, message, &entry, text.as_deref())?;
                EventKind::Message { id: message, content }
            }
            ContactEvent::Decrypted { from, to } => return self.climb_decrypted(txn, id, from, to),
            ContactEvent::ReadUpTo { seq } => return self.climb_read(txn, id, seq),
            ContactEvent::Greeting(text) => EventKind::Greeting(text.into_string()),
            ContactEvent::Established => EventKind::Established,
            ContactEvent::Missing { from, to } => EventKind::Missing { from, to },
            ContactEvent::Found { seq } => EventKind::Found { seq },
            ContactEvent::Fork => EventKind::Fork,
            // It starts over signed; what is wished is said again with the answer.
            ContactEvent::Renewed => {
                crate::direct::offer_again(txn, id)?;
                EventKind::Renewed
            }
            ContactEvent::RenewalHeld => EventKind::RenewalsHeld,
            ContactEvent::Behind => {
                return match may_renew(self, record) {
                    Ok(()) => self.renew(txn, id, record, EventKind::RolledBack),
                    // The contact says it again with every message.
                    Err(_) => Ok(()),
                };
            }
            ContactEvent::Resend { from, to } => return self.resend(txn, id, record, from, to),
            ContactEvent::Direct { seq, offer } => return crate::direct::note_offer(txn, id, seq, offer),
            ContactEvent::CloseMailbox { lkp } => {
                return txn.put(Table::Meta, &closing_key(id, &lkp), &[]);
            }
            other => {
                return Err(Error::new(
                    ErrorKind::Bug,
                    format!("this client does not know what to do with {other:?}; please report this"),
                ));
            }
        };
        self.emit(txn, &record.name, kind)
    }

    /// Seals messages again that the contact lost, in order, under their old sequences.
    fn resend(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        from: u64,
        to: u64,
    ) -> Result<()> {
        for seq in from..=to {
            let message = crate::log::by_seq(txn, id, seq)?;
            let content = match message {
                Some(message) => {
                    load::<LogEntry>(txn, Table::Log, &ordered_key(id, message.0))?.map(|l| l.content)
                }
                None => None,
            };
            let content = content.unwrap_or(Content::Empty);
            let out = record.machine.resend(seq, &content, &mut *self.random.lock())?;
            put_again(txn, self, id, message, out)?;
        }
        Ok(())
    }

    /// All our messages up to a sequence were shown. Goes through messages, not through numbers: a contact can
    /// make the numbers high.
    fn climb_read(&self, txn: &mut dyn StoreTxn, id: &ContactId, upto: u64) -> Result<()> {
        let mut before = upto.saturating_add(1);
        while let Some((seq, message)) = crate::log::last_before(txn, id, before)? {
            let log: Option<LogEntry> = load(txn, Table::Log, &ordered_key(id, message.0))?;
            if log.is_some_and(|l| l.delivery == Delivery::Read) {
                break;
            }
            self.climb(txn, id, message, Delivery::Read)?;
            before = seq;
        }
        Ok(())
    }

    fn climb_decrypted(&self, txn: &mut dyn StoreTxn, id: &ContactId, from: u64, to: u64) -> Result<()> {
        let mut before = to.saturating_add(1);
        while let Some((seq, message)) = crate::log::last_before(txn, id, before)?.filter(|(s, _)| *s >= from)
        {
            self.climb(txn, id, message, Delivery::Decrypted)?;
            before = seq;
        }
        Ok(())
    }
}

/// Key of the note that a mailbox of ours can be closed.
pub(crate) fn closing_key(id: &ContactId, lkp: &VerifyKey) -> Vec<u8> {
    [CLOSING, id.as_bytes().as_slice(), lkp.as_bytes()].concat()
}

/// Prefix of [`closing_key`].
pub(crate) const CLOSING: &[u8] = b"closing:";

/// Items dealt with: seen again, they are duplicates.
const DONE: u8 = b'd';
/// Items that do not open (yet), kept whole.
const ASIDE: u8 = b'a';

fn item_prefix(id: &ContactId, what: u8) -> Vec<u8> {
    [id.as_bytes().as_slice(), &[what]].concat()
}

fn item_key(id: &ContactId, what: u8, item: &[u8]) -> Vec<u8> {
    [item_prefix(id, what).as_slice(), &hash(HashLabel::Item, &[item])].concat()
}

/// Keeps an item that does not open, unless there are too many of them already. False when it is kept already.
fn set_aside(txn: &mut dyn StoreTxn, id: &ContactId, item: Vec<u8>) -> Result<bool> {
    let key = item_key(id, ASIDE, &item);
    if txn.get(Table::Items, &key)?.is_some() {
        return Ok(false);
    }
    if txn.scan(Table::Items, &item_prefix(id, ASIDE), None, MAX_ASIDE, false)?.len() < MAX_ASIDE {
        txn.put(Table::Items, &key, &item)?;
    }
    Ok(true)
}

/// Forgets half of the processed items when there are many: the ratchet refuses them by itself, they only
/// tell duplicates from damage.
fn trim_done(txn: &mut dyn StoreTxn, id: &ContactId) -> Result<()> {
    let rows = txn.scan(Table::Items, &item_prefix(id, DONE), None, MAX_DONE, false)?;
    if rows.len() == MAX_DONE {
        for (key, _) in rows.iter().take(MAX_DONE / 2) {
            txn.delete(Table::Items, key)?;
        }
    }
    Ok(())
}
