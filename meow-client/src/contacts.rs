//! Contacts: names, safety codes.

use meow_core::card::SafetyCode;
use meow_core::contact::Status;
use meow_core::identity::ContactId;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::mailbox::OwnMailbox;
use crate::records::{ContactRecord, contact, contact_of, decode, save};
use crate::route::Ways;

/// Longest name of a contact in bytes.
pub const MAX_NAME: usize = 128;

/// What is known of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactInfo {
    /// The name that the user gave.
    pub name: String,
    /// How far it has come.
    pub status: Status,
    /// The user compared the safety code.
    pub verified: bool,
    /// Messages to it are sealed in the thin form: post-quantum at the handshake only.
    pub thin: bool,
    /// The safety code, once there is one.
    pub safety_code: Option<SafetyCode>,
    /// When it was made, in Unix milliseconds.
    pub created_ms: u64,
    /// Messages, answers and receipts to the contact that no server has confirmed yet; counted up to 1,000.
    pub queued: usize,
}

impl Client {
    /// All contacts, by name.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        self.inner
            .read(|txn| {
                let mut all = Vec::new();
                for (_, record) in every_contact(txn)? {
                    all.push(info(txn, &record)?);
                }
                all.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(all)
            })
            .await
    }

    /// One contact.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn contact(&self, name: &str) -> Result<ContactInfo> {
        let name = name.to_owned();
        self.inner.read(move |txn| info(txn, &contact(txn, &contact_of(txn, &name)?)?)).await
    }

    /// Gives a contact another name. The contact does not learn of it.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyUsed`.
    pub async fn rename_contact(&self, name: &str, to: &str) -> Result<()> {
        check_name(to)?;
        let (name, to) = (name.to_owned(), to.to_owned());
        self.inner
            .write(move |txn, _| {
                let id = contact_of(txn, &name)?;
                name_is_free(txn, &to)?;
                let mut record = contact(txn, &id)?;
                txn.delete(Table::Names, name.as_bytes())?;
                txn.put(Table::Names, to.as_bytes(), id.as_bytes())?;
                record.name = to;
                save(txn, Table::Contacts, id.as_bytes(), &record)
            })
            .await
    }

    /// Notes that the user compared the safety code with the contact and found it equal.
    ///
    /// # Errors
    /// `NotFound`; `Usage` before there is a code.
    pub async fn confirm_safety_code(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.inner
            .write(move |txn, _| {
                let id = contact_of(txn, &name)?;
                let mut record = contact(txn, &id)?;
                if record.machine.safety_code().is_none() {
                    return Err(Error::new(
                        ErrorKind::Usage,
                        "there is no safety code yet; it comes once the contact has answered the card",
                    ));
                }
                record.machine.set_verified();
                save(txn, Table::Contacts, id.as_bytes(), &record)
            })
            .await
    }
}

/// Every contact of the store.
pub(crate) fn every_contact(txn: &dyn StoreTxn) -> Result<Vec<(ContactId, ContactRecord)>> {
    let mut all = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = txn.scan(Table::Contacts, &[], after.as_deref(), 256, false)?;
        let Some((last, _)) = rows.last() else { return Ok(all) };
        after = Some(last.clone());
        for (_, value) in &rows {
            let record: ContactRecord = decode(Table::Contacts, value)?;
            all.push((*record.machine.id(), record));
        }
    }
}

/// The mailboxes that a contact's machine polls, one per server.
pub(crate) fn own_mailboxes(record: &ContactRecord) -> Vec<OwnMailbox> {
    let ways = Ways::of(record);
    record.machine.mailboxes().iter().map(|mailbox| OwnMailbox::new(mailbox, &ways)).collect()
}

fn info(txn: &dyn StoreTxn, record: &ContactRecord) -> Result<ContactInfo> {
    let machine = &record.machine;
    Ok(ContactInfo {
        name: record.name.clone(),
        status: machine.status(),
        verified: machine.verified(),
        thin: machine.thin(),
        safety_code: machine.safety_code(),
        created_ms: record.created_ms,
        queued: txn.scan(Table::Outbox, machine.id().as_bytes(), None, 1000, false)?.len(),
    })
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let fine = !name.trim().is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    if fine {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::Usage,
            format!("a contact's name has 1 to {MAX_NAME} bytes and no control characters"),
        ))
    }
}

pub(crate) fn name_is_free(txn: &dyn StoreTxn, name: &str) -> Result<()> {
    match txn.get(Table::Names, name.as_bytes())? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::AlreadyUsed,
            format!("there is a contact named {name:?} already; choose another name, or rename that one"),
        )),
    }
}
