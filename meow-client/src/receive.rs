//! Fetching mail: pulling mailboxes, feeding what comes to the contact's machine, acknowledging.

use std::sync::Arc;
use std::time::Duration;

use meow_core::contact::{ContactEvent, Output, Received, Status};
use meow_core::crypto::VerifyKey;
use meow_core::crypto::{HashLabel, hash};
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::message::Content;
use meow_core::policy::Authenticity;
use meow_core::request::{Acknowledge, Answer, MailItem, Pull, RefusalCode, RequestKind};
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::contacts::own_mailboxes;
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::mailbox::{OwnMailbox, take_counter, unexpected};
use crate::outbox::put_items;
use crate::records::{ContactRecord, LogEntry, MailboxRecord, contact, load, next_number, ordered_key, save};
use crate::server::refused;

/// Items of one contact that do not open are kept up to this number, for a try with newer keys.
const MAX_ASIDE: usize = 64;
/// Hashes of processed items that are remembered per contact.
const MAX_DONE: usize = 2000;
/// Answers are asked in this size class first: 8 KiB.
const USUAL_ANSWER: u8 = 3;
/// The largest size class: 32 KiB.
const LARGEST_ANSWER: u8 = 4;
/// A counter this far ahead is no rolled-back store but a broken or lying server.
const MAX_COUNTER_JUMP: u64 = 1 << 40;
/// Keys of a contact are not made anew more often than this because of a server's word, in milliseconds.
const RENEWAL_PAUSE_MS: u64 = 60 * 60 * 1000;

/// A server that finds so many counters in a row stale is wrong.
const MAX_REFUSALS: u32 = 8;

/// How a pull ended.
enum Pulled {
    Items(meow_core::request::Items),
    /// The counter was behind by a race; take another.
    Again,
    /// The store was behind the server; keys are being made anew.
    RolledBack,
}

impl Inner {
    /// Fetches everything from one mailbox; waits up to `wait` when there is nothing. Returns how many items came.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        wait: Duration,
    ) -> Result<usize> {
        let (mut count, mut upto, mut class, mut wait, mut refusals) = (0, 0, USUAL_ANSWER, wait, 0);
        loop {
            let items = match self.pull(id, mailbox, upto, class, wait).await? {
                Pulled::Items(items) => items,
                Pulled::Again if refusals < MAX_REFUSALS => {
                    refusals += 1;
                    continue;
                }
                Pulled::RolledBack if refusals < MAX_REFUSALS => {
                    refusals += 1;
                    self.outbox.notify_one();
                    continue;
                }
                _ => return Err(unexpected()),
            };
            self.set_fresh(id);
            wait = Duration::ZERO;
            let (none, more, need) = (items.items.is_empty(), items.more, items.need);
            if !none {
                upto = items.items.iter().map(|i| i.number).fold(upto, u64::max);
                count += items.items.len();
                self.process(id, items.items.into_vec()).await?;
            }
            if !more {
                break;
            }
            class = if none { need.min(LARGEST_ANSWER) } else { USUAL_ANSWER };
            if none && class <= USUAL_ANSWER {
                return Err(unexpected());
            }
        }
        if count > 0 {
            self.acknowledge(mailbox, upto).await?;
            self.outbox.notify_one();
        }
        Ok(count)
    }

    /// Proves that the store is not an older copy: one counted request to a server of one's own, before
    /// anything is sealed with keys that a copy could have used.
    pub(crate) async fn prove_current(self: &Arc<Self>, id: ContactId) -> Result<()> {
        let mailboxes = self.read(move |txn| Ok(own_mailboxes(&contact(txn, &id)?.machine))).await?;
        let mut last =
            Error::new(ErrorKind::Usage, "this contact has no mailbox; remove it and exchange cards again");
        for mailbox in &mailboxes {
            match self.fetch(id, mailbox, Duration::ZERO).await {
                Ok(_) => return Ok(()),
                Err(e) => last = e,
            }
        }
        Err(Error::new(
            last.kind(),
            format!("your own server has to answer once before anything is sealed, which guards against reused keys: {last}"),
        )
        .with_retry(last.retry())
        .with_source(last))
    }

    async fn pull(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        acknowledge: u64,
        class: u8,
        wait: Duration,
    ) -> Result<Pulled> {
        let key = mailbox.key();
        let counter = self.write(move |txn, _| take_counter(txn, &key)).await?;
        let body = Pull {
            mailbox: mailbox.lkp.public(),
            counter,
            acknowledge,
            wait_secs: u16::try_from(wait.as_secs()).unwrap_or(u16::MAX),
            sig: Fixed([0; 64]),
        };
        let signed = body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?;
        match self.ask_own(&mailbox.server, RequestKind::Pull(signed), class, wait).await? {
            Answer::Items(items) => Ok(Pulled::Items(items)),
            Answer::Refused(r) if r.code == RefusalCode::StaleCounter => {
                self.behind(id, mailbox, r.seen).await
            }
            Answer::Refused(r) if r.code == RefusalCode::Denied => {
                let server = mailbox.server.urls().next().unwrap_or_default().to_owned();
                self.write(move |txn, inner| {
                    let name = contact(txn, &id)?.name;
                    inner.emit_once(txn, &name, b"gone:", &key, EventKind::MailboxGone { server })
                })
                .await?;
                Err(refused(&mailbox.server, r))
            }
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }

    /// The server has seen a higher counter: another task of this store was faster, or this store is an old copy.
    async fn behind(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox, seen: u64) -> Result<Pulled> {
        let key = mailbox.key();
        self.write(move |txn, inner| {
            let mut record: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
            if seen <= record.counter {
                return Ok(Pulled::Again);
            }
            if seen - record.counter > MAX_COUNTER_JUMP {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    "your server claims an impossible counter for this mailbox; its operator should look into it",
                ));
            }
            record.counter = seen;
            save(txn, Table::Mailboxes, &key, &record)?;
            let mut record = contact(txn, &id)?;
            let now = inner.now_ms();
            let established = record.machine.status() == Status::Established;
            if established && now.abs_diff(record.renewed_ms) > RENEWAL_PAUSE_MS {
                record.renewed_ms = now;
                inner.renew(txn, &id, &mut record)?;
                save(txn, Table::Contacts, id.as_bytes(), &record)?;
            }
            Ok(Pulled::RolledBack)
        })
        .await
    }

    /// Makes the keys with a contact anew.
    fn renew(&self, txn: &mut dyn StoreTxn, id: &ContactId, record: &mut ContactRecord) -> Result<()> {
        let opening = record.machine.begin_renewal(&mut *self.random.lock())?;
        self.emit(txn, &record.name, EventKind::RolledBack)?;
        put_items(txn, self, id, [opening.item])
    }

    async fn acknowledge(self: &Arc<Self>, mailbox: &OwnMailbox, upto: u64) -> Result<()> {
        let key = mailbox.key();
        let counter = self.write(move |txn, _| take_counter(txn, &key)).await?;
        let body = Acknowledge { mailbox: mailbox.lkp.public(), counter, upto, sig: Fixed([0; 64]) };
        let signed = body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?;
        match self.ask_own(&mailbox.server, RequestKind::Acknowledge(signed), 0, Duration::ZERO).await? {
            Answer::Done => Ok(()),
            // Overtaken by another process: what it leaves is delivered again and recognised.
            Answer::Refused(r) if r.code == RefusalCode::StaleCounter => Ok(()),
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }

    /// Gives pulled items to the contact's machine, and makes what comes of them durable as one. At the end
    /// a receipt if the policy wants one, and a turn of keys if it is due.
    async fn process(self: &Arc<Self>, id: ContactId, items: Vec<MailItem>) -> Result<()> {
        self.write(move |txn, inner| {
            let mut record = contact(txn, &id)?;
            for item in items {
                let item = item.item.into_vec();
                let done = item_key(&id, DONE, &item);
                if txn.get(Table::Items, &done)?.is_some() {
                    continue;
                }
                if inner.feed(txn, &id, &mut record, &item)? {
                    txn.put(Table::Items, &done, &[])?;
                    inner.retry_aside(txn, &id, &mut record)?;
                } else {
                    set_aside(txn, inner, &id, &record.name, item)?;
                }
            }
            trim_done(txn, &id)?;
            let receipt = inner.receipt(&mut record)?;
            put_items(txn, inner, &id, receipt)?;
            let turn = record.machine.tick(inner.now_ms(), &mut *inner.random.lock())?;
            put_items(txn, inner, &id, turn.map(|o| o.item))?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await
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
        put_items(txn, self, id, output.items.into_iter().map(|o| o.item))?;
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
                };
                crate::log::add(txn, id, message, &entry, text.as_deref())?;
                EventKind::Message { id: message, content }
            }
            ContactEvent::Decrypted { seq } => return self.climb_seq(txn, id, seq, Delivery::Decrypted),
            ContactEvent::ReadUpTo { seq } => return self.climb_read(txn, id, seq),
            ContactEvent::Greeting(text) => EventKind::Greeting(text.into_string()),
            ContactEvent::Established => EventKind::Established,
            ContactEvent::Missing { from, to } => EventKind::Missing { from, to },
            ContactEvent::Found { seq } => EventKind::Found { seq },
            ContactEvent::Fork => EventKind::Fork,
            ContactEvent::Renewed => {
                // A renewal starts over signed.
                let deniable = record.policy.authenticity == Authenticity::Deniable;
                let mode = record.machine.set_deniable(deniable, &mut *self.random.lock())?;
                put_items(txn, self, id, mode.map(|o| o.item))?;
                EventKind::Renewed
            }
            ContactEvent::Behind => {
                let now = self.now_ms();
                if now.abs_diff(record.renewed_ms) > RENEWAL_PAUSE_MS {
                    record.renewed_ms = now;
                    return self.renew(txn, id, record);
                }
                return Ok(());
            }
            ContactEvent::Resend { from, to } => return self.resend(txn, id, record, from, to),
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
            let content = match crate::log::by_seq(txn, id, seq)? {
                Some(message) => {
                    load::<LogEntry>(txn, Table::Log, &ordered_key(id, message.0))?.map(|l| l.content)
                }
                None => None,
            };
            let content = content.unwrap_or(Content::Empty);
            let out = record.machine.resend(seq, &content, &mut *self.random.lock())?;
            put_items(txn, self, id, [out.item])?;
        }
        Ok(())
    }

    /// All our messages up to a sequence were shown.
    fn climb_read(&self, txn: &mut dyn StoreTxn, id: &ContactId, upto: u64) -> Result<()> {
        for seq in (1..=upto).rev() {
            let Some(message) = crate::log::by_seq(txn, id, seq)? else { continue };
            let log: Option<LogEntry> = load(txn, Table::Log, &ordered_key(id, message.0))?;
            if log.is_some_and(|l| l.delivery == Delivery::Read) {
                break;
            }
            self.climb(txn, id, message, Delivery::Read)?;
        }
        Ok(())
    }

    fn climb_seq(&self, txn: &mut dyn StoreTxn, id: &ContactId, seq: u64, to: Delivery) -> Result<()> {
        match crate::log::by_seq(txn, id, seq)? {
            Some(message) => self.climb(txn, id, message, to),
            None => Ok(()),
        }
    }

    /// A batched receipt, if there is something new and the policy wants it told.
    pub(crate) fn receipt(&self, record: &mut ContactRecord) -> Result<Option<Vec<u8>>> {
        let receipts = record.policy.receipts;
        let out = record.machine.take_receipt(receipts, &mut *self.random.lock())?;
        Ok(out.map(|o| o.item))
    }

    /// Emits an event unless it was emitted for this key before.
    fn emit_once(
        &self,
        txn: &mut dyn StoreTxn,
        name: &str,
        what: &[u8],
        key: &[u8],
        kind: EventKind,
    ) -> Result<()> {
        let mark = [what, key].concat();
        if txn.get(Table::Meta, &mark)?.is_none() {
            txn.put(Table::Meta, &mark, &[])?;
            self.emit(txn, name, kind)?;
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

/// Keeps an item that does not open, unless there are too many of them already.
fn set_aside(txn: &mut dyn StoreTxn, inner: &Inner, id: &ContactId, name: &str, item: Vec<u8>) -> Result<()> {
    let key = item_key(id, ASIDE, &item);
    if txn.get(Table::Items, &key)?.is_some() {
        return Ok(());
    }
    if txn.scan(Table::Items, &item_prefix(id, ASIDE), None, MAX_ASIDE, false)?.len() < MAX_ASIDE {
        txn.put(Table::Items, &key, &item)?;
    }
    inner.emit(txn, name, EventKind::Unreadable)
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
