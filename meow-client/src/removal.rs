//! Forgetting a contact: at once here, and at its servers as soon as they can be reached. So are mailboxes closed of a contact
//! that was not made after all.

use std::collections::BTreeSet;
use std::sync::Arc;

use meow_core::identity::ContactId;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, Result};

use crate::client::{Client, Inner};
use crate::contacts::own_mailboxes;
use crate::cover::{COVER, LOOPED, LOOPS};
use crate::hearing::is_away;
use crate::mailbox::OwnMailbox;
use crate::others::mailboxes_changed;
use crate::receive::CLOSING;
use crate::records::{contact, contact_of, decode, save};
use crate::route::Under;
use crate::run::of_the_store;
use crate::sessions::SESSION;

/// Prefix of the notes on mailboxes that outlived their contact; then the mailbox and its server.
const LEFT_OVER: &[u8] = b"left over:";
/// Rows that are deleted at once.
const PAGE: usize = 500;

impl Client {
    /// Forgets a contact: its keys and messages are deleted here, and its mailboxes are closed. Gives the number of
    /// mailboxes that could not be closed now; [`sync`](Self::sync) and [`run`](Self::run) try those again.
    ///
    /// # Errors
    /// `NotFound`, `System`: nothing is deleted then.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the contact or does not; its mailboxes are closed in any case once it is forgotten.
    pub async fn remove_contact(&self, name: &str) -> Result<usize> {
        let (inner, name) = (&self.inner, name.to_owned());
        let id = inner
            .write(move |txn, _| {
                let id = contact_of(txn, &name)?;
                let mailboxes = own_mailboxes(&contact(txn, &id)?);
                note_left_over(txn, &mailboxes)?;
                forget(txn, &id)?;
                mailboxes_changed(txn)?;
                txn.delete(Table::Names, name.as_bytes())?;
                Ok(id)
            })
            .await?;
        inner.direct.hang_up_on(&id);
        inner.sessions.forget(&id);
        inner.mailboxes.notify_waiters();
        match inner.close_left_over().await {
            Err(e) if of_the_store(&e) => return Err(e),
            Err(e) => {
                tracing::debug!(kind = e.kind().name(), "a mailbox of a removed contact stays open for now")
            }
            Ok(()) => {}
        }
        inner.read(|txn| Ok(txn.scan(Table::Meta, LEFT_OVER, None, PAGE, false)?.len())).await
    }
}

impl Inner {
    /// Closes mailboxes that outlived their contact. One that cannot be closed now is tried again; a server that does not
    /// answer is not asked for its others.
    pub(crate) async fn close_left_over(self: &Arc<Self>) -> Result<()> {
        let rows = self.read(|txn| txn.scan(Table::Meta, LEFT_OVER, None, PAGE, false)).await?;
        let (mut failed, mut away) = (None, BTreeSet::new());
        for (_, value) in rows {
            let mailbox: OwnMailbox = decode(Table::Meta, &value)?;
            let server = *mailbox.server.fingerprint();
            if away.contains(&server) {
                continue;
            }
            match self.close_noted(&mailbox).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    if is_away(&e) {
                        away.insert(server);
                    }
                    failed = Some(e);
                }
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Closes a mailbox that has no contact, and forgets the note on it.
    pub(crate) async fn close_noted(self: &Arc<Self>, mailbox: &OwnMailbox) -> Result<()> {
        self.close(mailbox).await?;
        let key = left_over_key(mailbox);
        self.write(move |txn, _| txn.delete(Table::Meta, &key)).await
    }
}

/// Notes mailboxes that have no contact (any more), so that they are closed. They go by the policy as it is now.
pub(crate) fn note_left_over(txn: &mut dyn StoreTxn, mailboxes: &[OwnMailbox]) -> Result<()> {
    for mailbox in mailboxes {
        let mut mailbox = mailbox.clone();
        mailbox.ways.under = Under::Removed;
        save(txn, Table::Meta, &left_over_key(&mailbox), &mailbox)?;
    }
    Ok(())
}

/// Whether mailboxes of contacts that were removed wait at a server to be closed.
pub(crate) fn is_left_over_at(txn: &dyn StoreTxn, server: &[u8; 32]) -> Result<bool> {
    let rows = txn.scan(Table::Meta, LEFT_OVER, None, usize::MAX, false)?;
    Ok(rows.iter().any(|(key, _)| key.ends_with(server)))
}

fn left_over_key(mailbox: &OwnMailbox) -> Vec<u8> {
    [LEFT_OVER, &mailbox.key()].concat()
}

/// Deletes all that is kept for a contact, but for its name.
fn forget(txn: &mut dyn StoreTxn, id: &ContactId) -> Result<()> {
    crate::direct::disown(txn, id)?;
    let id = id.as_bytes();
    every(txn, Table::Log, id, |txn, key| crate::log::remove(txn, key))?;
    for table in [Table::Outbox, Table::Items] {
        every(txn, table, id, |txn, key| txn.delete(table, key))?;
    }
    for notes in [
        crate::log::SEQUENCES,
        crate::upkeep::AWAITED,
        CLOSING,
        SESSION,
        crate::copies::LACKING,
        crate::refill::NO_SPARE,
        crate::reused::REFUSED_ANEW,
        crate::postponed::POSTPONED,
    ] {
        every(txn, Table::Meta, &[notes, id].concat(), |txn, key| txn.delete(Table::Meta, key))?;
    }
    let single = [crate::upkeep::RENEWING, crate::recover::OLD_COPY, crate::used_card::USED];
    for note in single.into_iter().chain([crate::direct::DIRECT, COVER, LOOPS, LOOPED]) {
        txn.delete(Table::Meta, &[note, id].concat())?;
    }
    txn.delete(Table::Contacts, id)
}

/// Deletes every row of a prefix, each in the way given.
fn every(
    txn: &mut dyn StoreTxn,
    table: Table,
    prefix: &[u8],
    delete: impl Fn(&mut dyn StoreTxn, &[u8]) -> Result<(), Error>,
) -> Result<()> {
    loop {
        let rows = txn.scan(table, prefix, None, PAGE, false)?;
        if rows.is_empty() {
            return Ok(());
        }
        for (key, _) in rows {
            delete(txn, &key)?;
        }
    }
}
