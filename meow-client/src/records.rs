//! What the store holds, and typed access to it. Values are postcard; a value that does not decode is damage.

use meow_core::contact::Contact;
use meow_core::delivery::{Delivery, Way};
use meow_core::identity::{ContactId, RecoveryKeys};
use meow_core::lane::MAX_INVITE;
use meow_core::message::Content;
use meow_core::policy::Policy;
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Endpoint;
use meow_core::wire::{Fixed, Text};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ids::MessageId;

/// A server of one's own, as the user gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerRecord {
    /// Where it is, with credentials.
    pub(crate) url: Endpoint,
    pub(crate) fingerprint: Fixed<32>,
    pub(crate) invite: Option<Text<MAX_INVITE>>,
    pub(crate) added_ms: u64,
    /// Servers are used in this order.
    pub(crate) position: u64,
}

/// How a server of one's own is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerReached {
    /// The URLs of its newest descriptor.
    pub(crate) listed: Vec<Endpoint>,
    /// The URL by which it answered last.
    pub(crate) by: Endpoint,
    /// When its newest descriptor was issued, by its own clock in Unix seconds: an older one is not taken again.
    pub(crate) issued: u64,
}

/// Policies are kept as TOML.
pub(crate) mod policy_text {
    use meow_core::policy::Policy;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(policy: &Policy, to: S) -> Result<S::Ok, S::Error> {
        policy.to_string().serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Policy, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A contact, with the state of its machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    #[serde(with = "policy_text")]
    pub(crate) policy: Policy,
    pub(crate) machine: Contact,
    /// When the last renewal of keys was begun here, in Unix milliseconds.
    pub(crate) renewed_ms: u64,
}

/// One message of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) outgoing: bool,
    /// The lane sequence; 0 until an outgoing message is sealed.
    pub(crate) seq: u64,
    pub(crate) content: Content,
    /// When it was written or arrived here, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Of an outgoing message.
    pub(crate) delivery: Delivery,
    /// Why an outgoing message waits; empty when it does not.
    pub(crate) waiting: String,
    /// The user was told that this message is stuck.
    pub(crate) alarmed: bool,
    /// By which way an outgoing message went; `None` before it did.
    pub(crate) way: Option<Way>,
}

/// Something on its way to a contact.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OutboxEntry {
    /// The message that this carries; `None` for what the protocol sends by itself.
    pub(crate) message: Option<MessageId>,
    pub(crate) stage: Stage,
}

/// How far something in the outbox has come.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Its content waits in the log to be sealed.
    Plain,
    /// Finished bytes: every attempt sends the same, and so is the same deposit. The sequence is 0 for an opening.
    Sealed { item: Vec<u8>, seq: u64 },
}

/// The counter of one mailbox at one server.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MailboxRecord {
    /// The highest counter used or seen.
    pub(crate) counter: u64,
    /// The server has confirmed the registration.
    pub(crate) registered: bool,
}

/// Facts about the whole store.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) created_ms: u64,
    /// The next recovery key to give to a contact.
    pub(crate) next_recovery: u32,
    pub(crate) recovery: RecoveryKeys,
}

pub(crate) const DEVICE: &[u8] = b"device";

/// Key of the version of all records.
const RECORDS: &[u8] = b"records";
/// The version that this program reads and writes. 2: mailboxes with keys of their own at each server.
const VERSION: u32 = 2;

/// Notes in a new store what its records are.
pub(crate) fn mark_records(txn: &mut dyn StoreTxn) -> Result<()> {
    save(txn, Table::Meta, RECORDS, &VERSION)
}

/// Whether this program can read the records of a store.
///
/// # Errors
/// `NewerVersion`; `Usage` for those that were written before the first release: they cannot be carried over.
pub(crate) fn check_records(txn: &dyn StoreTxn) -> Result<()> {
    let (kind, text) = match load::<u32>(txn, Table::Meta, RECORDS)?.unwrap_or(1) {
        VERSION => return Ok(()),
        1 => (
            ErrorKind::Usage,
            "this store was written before the first release, with one mailbox key for all servers of a contact, which \
             servers do not take any more: make a new home (`meow init`), and exchange cards again",
        ),
        _ => (
            ErrorKind::NewerVersion,
            "the store was written by a newer version of this program: update, then open it again",
        ),
    };
    Err(Error::new(kind, text))
}

/// Reads a record.
pub(crate) fn load<T: DeserializeOwned>(txn: &dyn StoreTxn, table: Table, key: &[u8]) -> Result<Option<T>> {
    txn.get(table, key)?.map(|bytes| decode(table, &bytes)).transpose()
}

/// Reads the value of a record.
pub(crate) fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|e| {
        Error::new(
            ErrorKind::Damaged,
            format!("the store holds a damaged record in its table {}; restore a backup", table.name()),
        )
        .with_source(e)
    })
}

/// Writes a record.
pub(crate) fn save<T: Serialize>(txn: &mut dyn StoreTxn, table: Table, key: &[u8], value: &T) -> Result<()> {
    let bytes = postcard::to_stdvec(value).map_err(|e| {
        Error::new(ErrorKind::Bug, "a record cannot be encoded; please report this").with_source(e)
    })?;
    txn.put(table, key, &bytes)
}

/// The next number of a sequence of this store, from 1.
pub(crate) fn next_number(txn: &mut dyn StoreTxn, name: &'static [u8]) -> Result<u64> {
    let number = load::<u64>(txn, Table::Meta, name)?.unwrap_or(0) + 1;
    save(txn, Table::Meta, name, &number)?;
    Ok(number)
}

/// Key of something that belongs to a contact and is in order.
pub(crate) fn ordered_key(contact: &ContactId, number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key.iter_mut().zip(contact.as_bytes().iter().chain(&number.to_be_bytes())).for_each(|(k, b)| *k = *b);
    key
}

/// The number in an [`ordered_key`].
pub(crate) fn key_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// The contact of a name.
pub(crate) fn contact_of(txn: &dyn StoreTxn, name: &str) -> Result<ContactId> {
    let id = txn.get(Table::Names, name.as_bytes())?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("there is no contact named {name:?}; `meow contacts` lists them"),
        )
    })?;
    let id: [u8; 16] = id.try_into().map_err(|_| {
        Error::new(ErrorKind::Damaged, "the store holds a damaged contact name; restore a backup")
    })?;
    Ok(ContactId::from_bytes(id))
}

/// The record of a contact.
pub(crate) fn contact(txn: &dyn StoreTxn, id: &ContactId) -> Result<ContactRecord> {
    load(txn, Table::Contacts, id.as_bytes())?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "this contact was removed"))
}

#[cfg(test)]
mod tests {
    use meow_core::store::ClientStore;

    use super::*;
    use crate::store::MemoryClientStore;

    #[test]
    fn records_of_another_version_are_refused_and_said_to_be_so() {
        let store = MemoryClientStore::default();
        let check = || store.read(&mut |txn| check_records(txn));
        assert_eq!(check().unwrap_err().kind(), ErrorKind::Usage, "before there were versions");
        store.write(&mut |txn| mark_records(txn)).unwrap();
        check().unwrap();
        store.write(&mut |txn| save(txn, Table::Meta, RECORDS, &(VERSION + 1))).unwrap();
        assert_eq!(check().unwrap_err().kind(), ErrorKind::NewerVersion);
    }
}
