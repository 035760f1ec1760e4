//! The outbox: what is on its way, as plain content that waits to be sealed or as finished bytes.

use meow_core::contact::Outgoing;
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::message::{Content, MAX_DATA};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::{Client, Inner};
use crate::ids::MessageId;
use crate::others::OUTBOX;
use crate::records::{
    LogEntry, OutboxEntry, Stage, contact_of, decode, load, next_number, ordered_key, save,
};

pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Damaged, "the store holds a damaged outbox; restore a backup")
}

/// Puts finished items into the outbox.
pub(crate) fn put_items(
    txn: &mut dyn StoreTxn,
    inner: &Inner,
    contact: &ContactId,
    items: impl IntoIterator<Item = Outgoing>,
) -> Result<()> {
    for Outgoing { seq, item } in items {
        inner.counted.seals(contact);
        put(txn, contact, &OutboxEntry { message: None, stage: Stage::Sealed { item, seq } })?;
    }
    Ok(())
}

/// Puts a message into the outbox that was sealed again.
pub(crate) fn put_again(
    txn: &mut dyn StoreTxn,
    inner: &Inner,
    contact: &ContactId,
    message: Option<MessageId>,
    Outgoing { seq, item }: Outgoing,
) -> Result<()> {
    inner.counted.seals(contact);
    put(txn, contact, &OutboxEntry { message, stage: Stage::Sealed { item, seq } })?;
    Ok(())
}

/// Takes out what was sealed under keys that are no more: a renewal says again what the contact lacks, from
/// `again` on. So a contact that renews without end does not fill this store.
pub(crate) fn drop_superseded(txn: &mut dyn StoreTxn, contact: &ContactId, again: u64) -> Result<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = txn.scan(Table::Outbox, contact.as_bytes(), after.as_deref(), 64, false)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in &rows {
            let entry: OutboxEntry = decode(Table::Outbox, value)?;
            if matches!(entry.stage, Stage::Plain) {
                // Finished items come first.
                return Ok(());
            }
            let log = match entry.message {
                Some(message) => load::<LogEntry>(txn, Table::Log, &ordered_key(contact, message.0))?,
                None => None,
            };
            // One that the contact has already goes out as it is, for the ladder's sake.
            if log.is_none_or(|l| l.seq >= again) {
                txn.delete(Table::Outbox, key)?;
            }
        }
    }
}

/// Finished items come before what is still to be sealed: whatever is sealed later has a later sequence, and may
/// have to wait for what is finished.
const PLAIN: u64 = 1 << 63;

pub(crate) fn put(txn: &mut dyn StoreTxn, contact: &ContactId, entry: &OutboxEntry) -> Result<[u8; 24]> {
    let number = next_number(txn, OUTBOX)?;
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
    /// `NotFound`; `Limit` for a content beyond 30,000 bytes; `Usage` for one that only the protocol sends;
    /// `System` when it cannot be stored.
    ///
    /// # Cancel safety
    /// Dropping the future queues the message or does not.
    pub async fn send(&self, name: &str, content: Content) -> Result<MessageId> {
        check_content(&content)?;
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
                    way: None,
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

/// What the protocol says by itself would mislead the contact, and what is too long would block the queue.
fn check_content(content: &Content) -> Result<()> {
    match content {
        Content::Text { .. } | Content::Data(_) => Ok(()),
        Content::Unknown { body, .. } if body.len() <= MAX_DATA => Ok(()),
        Content::Unknown { .. } => {
            Err(Error::new(ErrorKind::Limit, format!("a message holds at most {MAX_DATA} bytes; split it"))
                .with_retry(Retry::Never))
        }
        _ => Err(Error::new(ErrorKind::Usage, "receipts and the like are sent by the client itself")),
    }
}
