//! What time brings, rather than a message: alarms, turns of keys, renewals that nobody answered.

use std::sync::Arc;
use std::time::Duration;

use meow_core::contact::Status;
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use tokio::time::sleep;

use crate::client::Inner;
use crate::contacts::every_contact;
use crate::cover::at_moments;
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::records::{ContactRecord, LogEntry, contact, decode, key_number, load, ordered_key, save};

/// How long a message may stay at a server, with no word from the contact that covers it, before the alarm, in
/// milliseconds.
const STALL_STORED_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a renewal may stay unanswered before it is begun anew, in milliseconds: its opening may have been lost.
const STUCK_RENEWAL_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How often mailboxes that are to be closed are tried.
const CLOSE_EVERY: Duration = Duration::from_secs(60);
/// How many of these turns lie between two looks at all contacts.
const LOOK_EVERY: u32 = 30;
/// Rows that are read at once.
const PAGE: usize = 256;

/// Prefix of the notes on messages that wait for a receipt: contact and number, as in the log.
pub(crate) const AWAITED: &[u8] = b"await:";
/// Prefix of the notes on contacts whose renewal is under way, and since when.
pub(crate) const RENEWING: &[u8] = b"renewing:";

/// Notes that a message is at a server since now.
pub(crate) fn await_receipt(
    txn: &mut dyn StoreTxn,
    id: &ContactId,
    message: MessageId,
    now: u64,
) -> Result<()> {
    save(txn, Table::Meta, &awaited_key(id, message), &now)
}

/// The message needs no alarm any more.
pub(crate) fn awaited_no_more(txn: &mut dyn StoreTxn, id: &ContactId, message: MessageId) -> Result<()> {
    txn.delete(Table::Meta, &awaited_key(id, message))
}

fn awaited_key(id: &ContactId, message: MessageId) -> Vec<u8> {
    [AWAITED, ordered_key(id, message.0).as_slice()].concat()
}

impl Inner {
    /// Closes retired mailboxes and looks after all contacts, until it is dropped or the store fails.
    pub(crate) async fn upkeep_loop(self: &Arc<Self>) -> Result<()> {
        let mut turn = 0u32;
        loop {
            if turn.is_multiple_of(LOOK_EVERY) {
                self.upkeep().await?;
            }
            turn = turn.wrapping_add(1);
            for closed in [
                self.look_after_copies().await,
                self.refill().await,
                self.add_postponed().await,
                self.withdraw_used().await,
                self.close_retired().await,
                self.close_left_over().await,
                self.move_on().await,
            ] {
                match closed {
                    Err(e) if crate::run::of_the_store(&e) => return Err(e),
                    Err(e) => tracing::debug!(
                        kind = e.kind().name(),
                        "a mailbox or a used card stays at its server for now, as may all of a server that is left"
                    ),
                    Ok(()) => {}
                }
            }
            sleep(CLOSE_EVERY).await;
        }
    }

    /// One look at all contacts and at the messages that wait for a receipt.
    pub(crate) async fn upkeep(self: &Arc<Self>) -> Result<()> {
        let now = self.now_ms();
        let due = self
            .read(move |txn| {
                let contacts = every_contact(txn)?.into_iter();
                Ok(contacts.filter(|(_, r)| needs_care(r, now)).map(|(id, _)| id).collect::<Vec<_>>())
            })
            .await?;
        for id in due {
            self.care_for(id).await?;
        }
        self.forget_expired_sessions().await?;
        self.forget_old_addresses().await?;
        self.alarms().await
    }

    async fn care_for(self: &Arc<Self>, id: ContactId) -> Result<()> {
        let fresh = self.is_fresh(&id);
        self.write(move |txn, inner| {
            let mut record = match contact(txn, &id) {
                Ok(record) => record,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            };
            let (mark, now) = ([RENEWING, id.as_bytes()].concat(), inner.now_ms());
            if fresh {
                inner.resume(txn, &id, &mut record)?;
            }
            if record.machine.status() == Status::Renewing {
                let since = load::<u64>(txn, Table::Meta, &mark)?.filter(|since| *since >= record.renewed_ms);
                match since {
                    Some(since) if now.abs_diff(since) > STUCK_RENEWAL_MS => {
                        inner.renew(txn, &id, &mut record, EventKind::RolledBack)?;
                        save(txn, Table::Meta, &mark, &now)?;
                    }
                    Some(_) => {}
                    None => save(txn, Table::Meta, &mark, &now)?,
                }
            } else if fresh {
                inner.answer(txn, &id, &mut record)?;
            }
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Raises the alarm for messages of which nothing was heard for long.
    async fn alarms(self: &Arc<Self>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.clone();
            after = self
                .write(move |txn, inner| {
                    let rows = txn.scan(Table::Meta, AWAITED, from.as_deref(), PAGE, false)?;
                    for (key, value) in &rows {
                        let since: u64 = decode(Table::Meta, value)?;
                        if inner.now_ms().saturating_sub(since) > STALL_STORED_MS {
                            inner.alarm(txn, key)?;
                            txn.delete(Table::Meta, key)?;
                        }
                    }
                    Ok(rows.into_iter().last().map(|(key, _)| key))
                })
                .await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn alarm(&self, txn: &mut dyn StoreTxn, mark: &[u8]) -> Result<()> {
        let (id, message) = split(mark)?;
        let key = ordered_key(&id, message.0);
        let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
        let record = contact(txn, &id)?;
        // Without receipts, what the contact says that it has seen will do.
        if log.alarmed || log.delivery >= Delivery::Decrypted || record.machine.seen_by_contact() >= log.seq {
            return Ok(());
        }
        log.alarmed = true;
        save(txn, Table::Log, &key, &log)?;
        let reason = format!(
            "it lies at the server since a day, and {} has not fetched it; reach {} another way",
            record.name, record.name
        );
        self.emit(txn, &record.name, EventKind::Stalled { id: message, reason })
    }
}

/// Something is due, or may be.
fn needs_care(record: &ContactRecord, now_ms: u64) -> bool {
    let machine = &record.machine;
    let turn = machine.turn_due(now_ms) && !at_moments(record);
    machine.status() == Status::Renewing || turn || machine.renewal_due(now_ms)
}

/// Contact and message of a note.
fn split(key: &[u8]) -> Result<(ContactId, MessageId)> {
    let parts = key.strip_prefix(AWAITED).and_then(|rest| {
        let id = rest.first_chunk::<16>()?;
        Some((ContactId::from_bytes(*id), MessageId(key_number(rest)?)))
    });
    parts.ok_or_else(|| Error::new(ErrorKind::Damaged, "the store holds a damaged note; restore a backup"))
}
