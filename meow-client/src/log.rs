//! The message log, and what the application says about it.

use meow_core::delivery::{Delivery, Way};
use meow_core::identity::ContactId;
use meow_core::message::Content;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::contacts::every_contact;
use crate::ids::MessageId;
use crate::records::{LogEntry, contact, contact_of, decode, key_number, load, ordered_key, save};

/// How many entries are read at once where the whole log is.
const PAGE: usize = 500;

/// One message of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its name in this client.
    pub id: MessageId,
    /// The contact's name.
    pub contact: String,
    /// Written here; otherwise it arrived.
    pub outgoing: bool,
    /// The sender's sequence to this contact; 0 until an outgoing message is sealed.
    pub seq: u64,
    /// What it says.
    pub content: Content,
    /// When it was written or arrived here, in Unix milliseconds.
    pub at_ms: u64,
    /// How far an outgoing message has come; for one that arrived: `Decrypted`, or `Read` once shown.
    pub delivery: Delivery,
    /// Why an outgoing message waits.
    pub waiting: Option<String>,
    /// By which way an outgoing message went; `None` before it did.
    pub way: Option<Way>,
}

impl Message {
    fn new(contact: &str, id: MessageId, entry: LogEntry) -> Self {
        Self {
            id,
            contact: contact.to_owned(),
            outgoing: entry.outgoing,
            seq: entry.seq,
            content: entry.content,
            at_ms: entry.at_ms,
            delivery: entry.delivery,
            waiting: Some(entry.waiting).filter(|w| !w.is_empty()),
            way: entry.way,
        }
    }
}

/// Adds a message to the log, findable by its id and its text.
pub(crate) fn add(
    txn: &mut dyn StoreTxn,
    contact: &ContactId,
    id: MessageId,
    entry: &LogEntry,
    text: Option<&str>,
) -> Result<()> {
    let key = ordered_key(contact, id.0);
    save(txn, Table::Log, &key, entry)?;
    txn.put(Table::Meta, &id_key(id), contact.as_bytes())?;
    match text {
        Some(text) => txn.index_text(&key, text),
        None => Ok(()),
    }
}

/// Takes a message out of the log, with what finds it.
pub(crate) fn remove(txn: &mut dyn StoreTxn, key: &[u8]) -> Result<()> {
    let id = key_number(key).ok_or_else(|| {
        Error::new(ErrorKind::Damaged, "the store holds a damaged key of a message; restore a backup")
    })?;
    txn.index_text(key, "")?;
    txn.delete(Table::Meta, &id_key(MessageId(id)))?;
    txn.delete(Table::Log, key)
}

/// Prefix of the notes on which message carries a sequence: contact and sequence.
pub(crate) const SEQUENCES: &[u8] = b"seq:";

/// Notes which message carries a sequence.
pub(crate) fn set_seq(txn: &mut dyn StoreTxn, contact: &ContactId, seq: u64, id: MessageId) -> Result<()> {
    txn.put(Table::Meta, &seq_key(contact, seq), &id.0.to_be_bytes())
}

/// The message that carries a sequence of ours.
pub(crate) fn by_seq(txn: &dyn StoreTxn, contact: &ContactId, seq: u64) -> Result<Option<MessageId>> {
    Ok(txn.get(Table::Meta, &seq_key(contact, seq))?.as_deref().and_then(key_number).map(MessageId))
}

/// The last message of ours with a sequence below `before`, and its sequence.
pub(crate) fn last_before(
    txn: &dyn StoreTxn,
    contact: &ContactId,
    before: u64,
) -> Result<Option<(u64, MessageId)>> {
    let prefix = [SEQUENCES, contact.as_bytes().as_slice()].concat();
    let row = txn.scan(Table::Meta, &prefix, Some(&seq_key(contact, before)), 1, true)?.pop();
    Ok(row.and_then(|(key, value)| Some((key_number(&key)?, MessageId(key_number(&value)?)))))
}

fn id_key(id: MessageId) -> Vec<u8> {
    [b"message:", id.0.to_be_bytes().as_slice()].concat()
}

fn seq_key(contact: &ContactId, seq: u64) -> Vec<u8> {
    [SEQUENCES, contact.as_bytes().as_slice(), &seq.to_be_bytes()].concat()
}

fn owner(txn: &dyn StoreTxn, id: MessageId) -> Result<ContactId> {
    let owner = txn.get(Table::Meta, &id_key(id))?;
    let owner: Option<[u8; 16]> = owner.and_then(|bytes| bytes.try_into().ok());
    owner.map(ContactId::from_bytes).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no message {id}; `meow log NAME` lists them"))
    })
}

impl Client {
    /// One message.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn message(&self, id: MessageId) -> Result<Message> {
        self.inner
            .read(move |txn| {
                let contact_id = owner(txn, id)?;
                let entry: LogEntry = load(txn, Table::Log, &ordered_key(&contact_id, id.0))?
                    .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no message {id}")))?;
                Ok(Message::new(&contact(txn, &contact_id)?.name, id, entry))
            })
            .await
    }

    /// Up to `limit` messages with a contact after `after`, oldest first.
    ///
    /// # Errors
    /// `NotFound` for an unknown contact.
    pub async fn log(&self, name: &str, after: Option<MessageId>, limit: usize) -> Result<Vec<Message>> {
        let name = name.to_owned();
        self.inner
            .read(move |txn| {
                let id = contact_of(txn, &name)?;
                let after = after.map(|m| ordered_key(&id, m.0));
                let rows = txn.scan(
                    Table::Log,
                    id.as_bytes(),
                    after.as_ref().map(<[u8; 24]>::as_slice),
                    limit,
                    false,
                )?;
                rows.into_iter().map(|(key, value)| message(&name, &key, &value)).collect()
            })
            .await
    }

    /// The newest messages with a contact, up to `limit`, oldest first.
    ///
    /// # Errors
    /// `NotFound` for an unknown contact.
    pub async fn latest(&self, name: &str, limit: usize) -> Result<Vec<Message>> {
        let name = name.to_owned();
        self.inner
            .read(move |txn| {
                let id = contact_of(txn, &name)?;
                let rows = txn.scan(Table::Log, id.as_bytes(), None, limit, true)?;
                rows.into_iter().rev().map(|(key, value)| message(&name, &key, &value)).collect()
            })
            .await
    }

    /// Messages written here that the contact is not known to have decrypted, in the order of their ids. Reads
    /// the whole log.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn unfinished(&self) -> Result<Vec<Message>> {
        self.inner
            .read(|txn| {
                let mut found = Vec::new();
                for (id, record) in every_contact(txn)? {
                    let mut after: Option<Vec<u8>> = None;
                    loop {
                        let rows = txn.scan(Table::Log, id.as_bytes(), after.as_deref(), PAGE, false)?;
                        let Some((last, _)) = rows.last() else { break };
                        after = Some(last.clone());
                        for (key, value) in &rows {
                            let message = message(&record.name, key, value)?;
                            if message.outgoing && message.delivery < Delivery::Decrypted {
                                found.push(message);
                            }
                        }
                    }
                }
                found.sort_by_key(|m| m.id);
                Ok(found)
            })
            .await
    }

    /// Messages whose text holds all words of a query, newest first: those with one contact, or with all.
    ///
    /// # Errors
    /// `NotFound` for an unknown contact, `Usage` for too many words, `Damaged`, `System`.
    pub async fn search(&self, name: Option<&str>, query: &str, limit: usize) -> Result<Vec<Message>> {
        let (name, query) = (name.map(str::to_owned), query.to_owned());
        self.inner
            .read(move |txn| {
                let only = name.map(|name| contact_of(txn, &name)).transpose()?;
                let mut found = Vec::new();
                for key in txn.search_text(&query, if only.is_some() { usize::MAX } else { limit })? {
                    if found.len() == limit {
                        break;
                    }
                    let id = key.first_chunk::<16>().map(|id| ContactId::from_bytes(*id));
                    let Some(id) = id.filter(|id| only.is_none_or(|only| only == *id)) else { continue };
                    let Some(value) = txn.get(Table::Log, &key)? else { continue };
                    found.push(message(&contact(txn, &id)?.name, &key, &value)?);
                }
                Ok(found)
            })
            .await
    }

    /// Notes that a message that arrived was shown. The contact is told if the policy says so.
    ///
    /// # Errors
    /// `NotFound`; `Usage` for a message of one's own.
    pub async fn mark_read(&self, id: MessageId) -> Result<()> {
        self.inner
            .write(move |txn, inner| {
                let contact_id = owner(txn, id)?;
                let key = ordered_key(&contact_id, id.0);
                let mut entry: LogEntry = load(txn, Table::Log, &key)?
                    .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no message {id}")))?;
                if entry.outgoing {
                    return Err(Error::new(ErrorKind::Usage, "this message is your own"));
                }
                if entry.delivery.climb(Delivery::Read) {
                    let mut record = contact(txn, &contact_id)?;
                    record.machine.mark_read(entry.seq);
                    save(txn, Table::Log, &key, &entry)?;
                    // A store that may be an older copy seals nothing; the receipt goes out once it is proven.
                    if inner.is_fresh(&contact_id) {
                        inner.answer(txn, &contact_id, &mut record)?;
                    }
                    save(txn, Table::Contacts, contact_id.as_bytes(), &record)?;
                }
                Ok(())
            })
            .await?;
        self.inner.outbox.notify_one();
        Ok(())
    }
}

fn message(contact: &str, key: &[u8], value: &[u8]) -> Result<Message> {
    let id = key_number(key)
        .map(MessageId)
        .ok_or_else(|| Error::new(ErrorKind::Damaged, "the store holds a damaged log; restore a backup"))?;
    Ok(Message::new(contact, id, decode(Table::Log, value)?))
}
