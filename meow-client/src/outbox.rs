//! What is on its way: sealing what waits, and depositing finished bytes until a server confirms.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use meow_core::contact::{DepositTarget, SendError};
use meow_core::crypto::Random;
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::message::Content;
use meow_core::request::{Answer, Deposit, RefusalCode, RequestKind};
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::{Blob, Fixed};
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::{Client, Inner};
use crate::contacts::every_contact;
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::mailbox::unexpected;
use crate::records::{
    ContactRecord, LogEntry, OutboxEntry, Stage, contact, contact_of, decode, load, next_number, ordered_key,
    save,
};
use crate::server::{Ask, refused};

/// What became of a flush.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Deposits confirmed.
    pub(crate) sent: usize,
    /// Why what is left is left; the soonest retry counts.
    pub(crate) left: Option<Error>,
}

/// What to do next for a contact.
enum Next {
    Nothing,
    /// The store has to be proved current first.
    Prove,
    /// Deposit these bytes.
    Deposit {
        key: [u8; 24],
        id: [u8; 16],
        item: Vec<u8>,
        target: Box<DepositTarget>,
    },
    /// Nothing can be sent now, for this reason.
    Wait(Error),
}

/// Finished bytes in the outbox, and the id of their deposit.
struct Sealed {
    key: [u8; 24],
    deposit: [u8; 16],
    item: Vec<u8>,
}

/// Puts finished items into the outbox.
pub(crate) fn put_items(
    txn: &mut dyn StoreTxn,
    inner: &Inner,
    contact: &ContactId,
    items: impl IntoIterator<Item = Vec<u8>>,
) -> Result<()> {
    for item in items {
        let stage = Stage::Sealed { id: deposit_id(&mut *inner.random.lock())?, item };
        put(txn, contact, &OutboxEntry { message: None, stage })?;
    }
    Ok(())
}

fn deposit_id(random: &mut dyn Random) -> Result<[u8; 16]> {
    let mut id = [0; 16];
    random.fill(&mut id)?;
    Ok(id)
}

/// Finished items come before what is still to be sealed: whatever is sealed later has a later sequence, and may
/// have to wait for what is finished.
const PLAIN: u64 = 1 << 63;

fn put(txn: &mut dyn StoreTxn, contact: &ContactId, entry: &OutboxEntry) -> Result<[u8; 24]> {
    let number = next_number(txn, b"outbox")?;
    let place = if matches!(entry.stage, Stage::Plain) { number | PLAIN } else { number };
    let key = ordered_key(contact, place);
    save(txn, Table::Outbox, &key, entry)?;
    Ok(key)
}

impl Client {
    /// Queues a message to a contact and returns its id. It is durable when this returns, and goes out with
    /// the next [`sync`](Self::sync), or at once while [`run`](Self::run) runs. Messages to a contact whose
    /// keys are not confirmed yet wait until they are.
    ///
    /// # Errors
    /// `NotFound`; `Limit` for a content beyond 30,000 bytes; `System` when it cannot be stored.
    pub async fn send(&self, name: &str, content: Content) -> Result<MessageId> {
        let name = name.to_owned();
        let id = self
            .inner
            .write(move |txn, inner| {
                let contact = contact_of(txn, &name)?;
                let id = MessageId(next_number(txn, b"message")?);
                let text = content.as_text().map(str::to_owned);
                let entry = LogEntry {
                    outgoing: true,
                    seq: 0,
                    content,
                    at_ms: inner.now_ms(),
                    delivery: Delivery::Queued,
                    waiting: String::new(),
                    alarmed: false,
                };
                crate::log::add(txn, &contact, id, &entry, text.as_deref())?;
                put(txn, &contact, &OutboxEntry { message: Some(id), stage: Stage::Plain })?;
                Ok(id)
            })
            .await?;
        self.inner.outbox.notify_one();
        Ok(id)
    }
}

impl Inner {
    /// Sends all that can be sent now.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<Flushed> {
        let contacts = self
            .read(|txn| {
                let mut with_mail = Vec::new();
                for (id, _) in every_contact(txn)? {
                    if !txn.scan(Table::Outbox, id.as_bytes(), None, 1, false)?.is_empty() {
                        with_mail.push(id);
                    }
                }
                Ok(with_mail)
            })
            .await?;
        let mut waiting: VecDeque<ContactId> = contacts.into();
        let mut running = tokio::task::JoinSet::new();
        let mut all = Flushed::default();
        loop {
            while running.len() < 8
                && let Some(id) = waiting.pop_front()
            {
                let inner = Arc::clone(self);
                running.spawn(async move { inner.flush_contact(id).await });
            }
            let Some(done) = running.join_next().await else { return Ok(all) };
            let one = done.map_err(|e| {
                Error::new(ErrorKind::Bug, "a sending task ended before its time").with_source(e)
            })??;
            all.sent += one.sent;
            all.left = sooner(all.left, one.left);
        }
    }

    /// Sends all that can be sent to one contact, in order.
    async fn flush_contact(self: &Arc<Self>, id: ContactId) -> Result<Flushed> {
        let mut flushed = Flushed::default();
        loop {
            match self.next(id).await? {
                Next::Nothing => return Ok(flushed),
                Next::Prove => {
                    if let Err(e) = self.prove_current(id).await {
                        self.note_waiting(id, &e).await?;
                        flushed.left = Some(e);
                        return Ok(flushed);
                    }
                }
                Next::Deposit { key, id: deposit, item, target } => {
                    match self.deposit(&target, deposit, item).await {
                        Ok(()) => {
                            self.stored(id, key).await?;
                            flushed.sent += 1;
                        }
                        Err(e) => {
                            self.note_waiting(id, &e).await?;
                            flushed.left = Some(e);
                            return Ok(flushed);
                        }
                    }
                }
                Next::Wait(e) => {
                    self.note_waiting(id, &e).await?;
                    flushed.left = Some(e);
                    return Ok(flushed);
                }
            }
        }
    }

    /// The next step for a contact. Seals what waits: from then on the bytes stay the same.
    async fn next(self: &Arc<Self>, id: ContactId) -> Result<Next> {
        let fresh = self.is_fresh(&id);
        self.write(move |txn, inner| {
            let Some((key, value)) =
                txn.scan(Table::Outbox, id.as_bytes(), None, 1, false)?.into_iter().next()
            else {
                return Ok(Next::Nothing);
            };
            let key: [u8; 24] = key.try_into().map_err(|_| {
                Error::new(ErrorKind::Damaged, "the store holds a damaged outbox; restore a backup")
            })?;
            let entry: OutboxEntry = decode(Table::Outbox, &value)?;
            let mut record = contact(txn, &id)?;
            let Sealed { key, deposit, item } = match entry.stage {
                Stage::Sealed { id, item } => Sealed { key, deposit: id, item },
                Stage::Plain if !fresh => return Ok(Next::Prove),
                Stage::Plain => match inner.seal(txn, &id, &mut record, key, entry.message)? {
                    Some(sealed) => sealed,
                    None => return Ok(Next::Wait(not_yet(&record.name))),
                },
            };
            match record.machine.deposit_target().cloned().map(Box::new) {
                Some(target) => Ok(Next::Deposit { key, id: deposit, item, target }),
                None => Ok(Next::Wait(not_yet(&record.name))),
            }
        })
        .await
    }

    /// Seals a message that waits, in place of its entry; `None` while keys are not confirmed.
    fn seal(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        waiting: [u8; 24],
        message: Option<MessageId>,
    ) -> Result<Option<Sealed>> {
        let message = message.ok_or_else(|| {
            Error::new(ErrorKind::Bug, "an outbox entry carries nothing; please report this")
        })?;
        let log_key = ordered_key(id, message.0);
        let mut log: LogEntry = load(txn, Table::Log, &log_key)?
            .ok_or_else(|| Error::new(ErrorKind::Damaged, "a queued message is missing from the log"))?;
        let mut random = self.random.lock();
        let out = match record.machine.send(&log.content, &mut *random) {
            Ok(out) => out,
            Err(SendError::NotYet) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        log.seq = out.seq;
        save(txn, Table::Log, &log_key, &log)?;
        crate::log::set_seq(txn, id, out.seq, message)?;
        save(txn, Table::Contacts, id.as_bytes(), record)?;
        txn.delete(Table::Outbox, &waiting)?;
        let deposit = deposit_id(&mut *random)?;
        let stage = Stage::Sealed { id: deposit, item: out.item.clone() };
        let key = put(txn, id, &OutboxEntry { message: Some(message), stage })?;
        Ok(Some(Sealed { key, deposit, item: out.item }))
    }

    /// Deposits finished bytes at the first server of the contact that takes them.
    async fn deposit(&self, target: &DepositTarget, id: [u8; 16], item: Vec<u8>) -> Result<()> {
        let item = Blob::new(item).map_err(|_| Error::new(ErrorKind::Bug, "a sealed item is too long"))?;
        let mut last = Error::new(ErrorKind::Malformed, "the contact named no server; ask for a new card");
        for server in &target.servers {
            let kind = RequestKind::Deposit(Deposit {
                mailbox: target.lkp,
                token: target.token,
                id: Fixed(id),
                keep_secs: 0,
                item: item.clone(),
            });
            let ask = Ask { server, private_url: None, kind, answer: 0, wait: Duration::ZERO };
            last = match self.servers.ask(&ask).await {
                Ok(Answer::Done) => return Ok(()),
                Ok(Answer::Refused(r)) if r.code == RefusalCode::Denied => {
                    refused(server, r).with_retry(Retry::After(300))
                }
                Ok(Answer::Refused(r)) => refused(server, r),
                Ok(_) => unexpected(),
                Err(e) => e,
            };
        }
        Err(last)
    }

    /// Takes an entry that a server has confirmed out of the outbox.
    async fn stored(self: &Arc<Self>, id: ContactId, key: [u8; 24]) -> Result<()> {
        self.write(move |txn, inner| {
            // Another process may have deposited the same bytes at the same time: the server keeps them once.
            let Some(entry) = load::<OutboxEntry>(txn, Table::Outbox, &key)? else { return Ok(()) };
            txn.delete(Table::Outbox, &key)?;
            match entry.message {
                Some(message) => inner.climb(txn, &id, message, Delivery::Stored(1)),
                None => Ok(()),
            }
        })
        .await
    }

    /// Moves a message up the ladder and tells the application.
    pub(crate) fn climb(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        message: MessageId,
        to: Delivery,
    ) -> Result<()> {
        let key = ordered_key(id, message.0);
        let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
        if log.delivery.climb(to) {
            log.waiting.clear();
            save(txn, Table::Log, &key, &log)?;
            let name = contact(txn, id)?.name;
            self.emit(txn, &name, EventKind::Delivery { id: message, delivery: to })?;
        }
        Ok(())
    }

    /// Notes why the messages to a contact wait, and raises the alarm for those that wait too long.
    async fn note_waiting(self: &Arc<Self>, id: ContactId, why: &Error) -> Result<()> {
        let why = why.to_string();
        self.write(move |txn, inner| {
            for (_, value) in txn.scan(Table::Outbox, id.as_bytes(), None, 256, false)? {
                let entry: OutboxEntry = decode(Table::Outbox, &value)?;
                let Some(message) = entry.message else { continue };
                let key = ordered_key(&id, message.0);
                let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { continue };
                let late = inner.now_ms().saturating_sub(log.at_ms) > STALL_QUEUED_MS;
                if log.waiting == why && (log.alarmed || !late) {
                    continue;
                }
                log.waiting.clone_from(&why);
                if late && !log.alarmed {
                    log.alarmed = true;
                    let name = contact(txn, &id)?.name;
                    inner.emit(txn, &name, EventKind::Stalled { id: message, reason: why.clone() })?;
                }
                save(txn, Table::Log, &key, &log)?;
            }
            Ok(())
        })
        .await
    }
}

/// How long a message may stay on this device before the alarm, in milliseconds.
const STALL_QUEUED_MS: u64 = 10 * 60 * 1000;

fn not_yet(name: &str) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("keys with {name} are not confirmed yet; the message goes out once {name} has been online"),
    )
    .with_retry(Retry::After(30))
}

/// The error whose retry comes first.
fn sooner(a: Option<Error>, b: Option<Error>) -> Option<Error> {
    let secs = |e: &Error| match e.retry() {
        Retry::Now => 0,
        Retry::After(n) => n,
        Retry::Never => u32::MAX,
    };
    match (a, b) {
        (Some(a), Some(b)) if secs(&b) < secs(&a) => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}
