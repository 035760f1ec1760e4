//! Sending: sealing what waits in the outbox, and passing finished bytes on until a server confirms.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use meow_core::contact::SendError;
use meow_core::delivery::{Delivery, Way};
use meow_core::identity::ContactId;
use meow_core::lane::Lookup;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::Inner;
use crate::copies::with_lacking;
use crate::cover::{at_moments, for_a_moment};
use crate::deposit::{Passed, Sending};
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::outbox::{damaged, put};
use crate::records::{ContactRecord, LogEntry, OutboxEntry, Stage, contact, decode, load, ordered_key, save};
use crate::route::Ways;
use crate::upkeep::{await_receipt, awaited_no_more};

/// What became of a flush.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Deposits confirmed.
    pub(crate) sent: usize,
    /// Contacts for whom something was sealed.
    pub(crate) sealed: Vec<ContactId>,
    /// Why what is left is left; the soonest retry counts.
    pub(crate) left: Option<Error>,
}

/// What to do next for a contact.
pub(crate) enum Next {
    Nothing,
    /// The store has to be proved current first.
    Prove,
    /// Store one copy that is lacking.
    Copy,
    /// Deposit these bytes.
    Deposit {
        key: [u8; 24],
        item: Vec<u8>,
        target: Box<Lookup>,
        /// How the contact and its servers may be reached.
        ways: Box<Ways>,
        /// They were sealed just now.
        sealed: bool,
    },
    /// Nothing can be sent now, for this reason.
    Wait(Error),
    /// It leaves at a moment of cover traffic.
    Moment(Error),
}

/// Finished bytes in the outbox.
struct Sealed {
    key: [u8; 24],
    item: Vec<u8>,
}

/// The contacts for whom something waits, at the cost of those alone.
fn with_mail(txn: &dyn StoreTxn) -> Result<Vec<ContactId>> {
    let mut found = Vec::new();
    let mut after: Option<[u8; 24]> = None;
    while let Some((key, _)) =
        txn.scan(Table::Outbox, &[], after.as_ref().map(<[u8; 24]>::as_slice), 1, false)?.pop()
    {
        let id = key.first_chunk::<16>().ok_or_else(damaged)?;
        let id = ContactId::from_bytes(*id);
        after = Some(ordered_key(&id, u64::MAX));
        found.push(id);
    }
    Ok(found)
}

impl Inner {
    /// Sends all that can be sent now.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<Flushed> {
        let waiting = self.read(|txn| Ok([with_mail(txn)?, with_lacking(txn)?].concat())).await?;
        let mut waiting: VecDeque<_> = waiting.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
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
            all.sealed.extend(one.sealed);
            all.left = sooner(all.left, one.left);
        }
    }

    /// Sends all that can be sent to one contact, in order.
    async fn flush_contact(self: &Arc<Self>, id: ContactId) -> Result<Flushed> {
        let mut flushed = Flushed::default();
        loop {
            match self.next(id).await? {
                Next::Nothing | Next::Copy => {
                    let (sent, left) = self.top_up(id).await?;
                    flushed.sent += sent;
                    flushed.left = left;
                    return Ok(flushed);
                }
                Next::Prove => {
                    if let Err(e) = self.prove_current(id).await {
                        self.note_waiting(id, &e).await?;
                        flushed.left = Some(e);
                        return Ok(flushed);
                    }
                }
                Next::Deposit { key, item, target, ways, sealed } => {
                    if sealed && flushed.sealed.is_empty() {
                        flushed.sealed.push(id);
                    }
                    let what = Sending { contact: id, ways: &ways, target: &target, item: &item };
                    match self.pass_on(&what).await {
                        Ok(passed) => {
                            self.stored(id, key, passed).await?;
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
                Next::Moment(e) => {
                    self.note_moment(id, &e).await?;
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
            if txn.scan(Table::Outbox, id.as_bytes(), None, 1, false)?.is_empty() {
                return Ok(Next::Nothing);
            }
            let mut record = contact(txn, &id)?;
            if at_moments(&record) {
                return Ok(Next::Moment(for_a_moment(&record)));
            }
            inner.next_of(txn, &id, &mut record, fresh)
        })
        .await
    }

    /// The same whether or not it is a moment of cover traffic.
    pub(crate) fn next_of(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        fresh: bool,
    ) -> Result<Next> {
        let Some((key, value)) = txn.scan(Table::Outbox, id.as_bytes(), None, 1, false)?.into_iter().next()
        else {
            return Ok(Next::Nothing);
        };
        let key: [u8; 24] = key.try_into().map_err(|_| damaged())?;
        let entry: OutboxEntry = decode(Table::Outbox, &value)?;
        let sealed = matches!(entry.stage, Stage::Plain);
        let Sealed { key, item } = match entry.stage {
            Stage::Sealed { item, .. } => Sealed { key, item },
            Stage::Plain if !fresh => return Ok(Next::Prove),
            Stage::Plain => match self.seal(txn, id, record, key, entry.message)? {
                Some(sealed) => sealed,
                None => return Ok(Next::Wait(not_yet(&record.name))),
            },
        };
        match record.machine.deposit_target().cloned().map(Box::new) {
            Some(target) => {
                let ways = Box::new(Ways::of(record));
                Ok(Next::Deposit { key, item, target, ways, sealed })
            }
            None => Ok(Next::Wait(not_yet(&record.name))),
        }
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
        self.choose_form(txn, record)?;
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
        self.counted.seals(id);
        let stage = Stage::Sealed { item: out.item.clone(), seq: out.seq };
        let key = put(txn, id, &OutboxEntry { message: Some(message), stage })?;
        Ok(Some(Sealed { key, item: out.item }))
    }

    /// Takes an entry that a server, or the contact itself, has confirmed out of the outbox. What a server has is kept until
    /// the contact has it.
    pub(crate) async fn stored(self: &Arc<Self>, id: ContactId, key: [u8; 24], passed: Passed) -> Result<()> {
        self.write(move |txn, inner| {
            // Another process may have deposited the same bytes at the same time: the server keeps them once.
            let Some(entry) = load::<OutboxEntry>(txn, Table::Outbox, &key)? else { return Ok(()) };
            txn.delete(Table::Outbox, &key)?;
            let way = match &passed {
                Passed::Directly => Way::Direct,
                Passed::At(_, way) => *way,
            };
            if let Some(message) = entry.message {
                await_receipt(txn, &id, message, inner.now_ms())?;
                note_way(txn, &id, message, way)?;
            }
            match (passed, entry.stage, entry.message) {
                (Passed::At(place, _), Stage::Sealed { item, seq }, message) => {
                    inner.keep(txn, &id, (seq, message), item, place.lkp)
                }
                (_, _, Some(message)) => inner.climb(txn, &id, message, Delivery::Stored(1)),
                (_, _, None) => Ok(()),
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
        if to >= Delivery::Decrypted {
            awaited_no_more(txn, id, message)?;
        }
        if log.delivery.climb(to) {
            log.waiting.clear();
            save(txn, Table::Log, &key, &log)?;
            let name = contact(txn, id)?.name;
            self.emit(txn, &name, EventKind::Delivery { id: message, delivery: to })?;
        }
        Ok(())
    }

    /// Notes why the messages to a contact wait, and raises the alarm for those that wait too long.
    pub(crate) async fn note_waiting(self: &Arc<Self>, id: ContactId, why: &Error) -> Result<()> {
        self.note(id, why, true).await
    }

    /// Notes that they wait for a moment, where nothing else is known to keep them. Nothing is wrong, however long it takes.
    async fn note_moment(self: &Arc<Self>, id: ContactId, why: &Error) -> Result<()> {
        self.note(id, why, false).await
    }

    async fn note(self: &Arc<Self>, id: ContactId, why: &Error, wrong: bool) -> Result<()> {
        let why = why.to_string();
        self.write(move |txn, inner| {
            for (_, value) in txn.scan(Table::Outbox, id.as_bytes(), None, 256, false)? {
                let entry: OutboxEntry = decode(Table::Outbox, &value)?;
                let Some(message) = entry.message else { continue };
                let key = ordered_key(&id, message.0);
                let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { continue };
                if !wrong && !log.waiting.is_empty() {
                    continue;
                }
                let late = wrong && inner.now_ms().saturating_sub(log.at_ms) > STALL_QUEUED_MS;
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

/// Notes by which way a message went.
fn note_way(txn: &mut dyn StoreTxn, id: &ContactId, message: MessageId, way: Way) -> Result<()> {
    let key = ordered_key(id, message.0);
    let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
    log.way = Some(way);
    save(txn, Table::Log, &key, &log)
}

/// How long a message may stay on this device before the alarm, in milliseconds.
pub(crate) const STALL_QUEUED_MS: u64 = 10 * 60 * 1000;

fn not_yet(name: &str) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "keys with {name} are not confirmed yet; the message goes out once {name} has been online. If that does not \
             help, somebody else took the card before: ask for a new one"
        ),
    )
    .with_retry(Retry::After(30))
}

/// The error whose retry comes first.
pub(crate) fn sooner(a: Option<Error>, b: Option<Error>) -> Option<Error> {
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
