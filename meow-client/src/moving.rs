//! Moving from one server of one's own to another: every contact is told of a new mailbox, and nothing that is under way
//! is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use meow_core::contact::{Mailbox, Status};
use meow_core::identity::ContactId;
use meow_core::lane::ServerReference;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::{Client, Inner};
use crate::contacts::{every_contact, own_mailboxes};
use crate::mailbox::OwnMailbox;
use crate::others::mailboxes_changed;
use crate::records::{ContactRecord, ServerRecord, contact, load, save};
use crate::run::of_the_store;
use crate::servers::{forget_server, server_gone};

/// Prefix of the marks on servers that are left; then the fingerprint. The value says whether it is lost.
const LEAVING: &[u8] = b"leaving:";
const LOST: &[u8] = &[1];

/// How far a move has come.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MoveReport {
    /// Contacts whose mailbox is at the server still, with a word why: they are tried again.
    pub waiting: Vec<(String, Error)>,
    /// Contacts that have a new mailbox, and have not acknowledged it yet.
    pub moving: usize,
    /// The server is left: nothing of ours is there any more, and it is off the list.
    pub left: bool,
}

/// The servers that are left.
pub(crate) fn leaving(txn: &dyn StoreTxn) -> Result<BTreeSet<[u8; 32]>> {
    let rows = txn.scan(Table::Meta, LEAVING, None, 1000, false)?;
    rows.iter().map(|(key, _)| fingerprint(key)).collect()
}

/// Whether a server is left that will not come back.
pub(crate) fn is_lost(txn: &dyn StoreTxn, server: &[u8; 32]) -> Result<bool> {
    Ok(txn.get(Table::Meta, &mark(server))?.is_some_and(|value| value == LOST))
}

/// The server is used again.
pub(crate) fn stay(txn: &mut dyn StoreTxn, server: &[u8; 32]) -> Result<()> {
    txn.delete(Table::Meta, &mark(server))
}

fn mark(server: &[u8; 32]) -> Vec<u8> {
    [LEAVING, server].concat()
}

fn fingerprint(mark: &[u8]) -> Result<[u8; 32]> {
    let found = mark.strip_prefix(LEAVING).and_then(|rest| rest.try_into().ok());
    found.ok_or_else(|| Error::new(ErrorKind::Damaged, "the store holds a damaged mark; restore a backup"))
}

impl Client {
    /// Moves from one server of one's own to another, which is added if it is not in the list yet. Every contact gets a new
    /// mailbox on the servers that stay; the old one is polled until the contact deposits into the new one, then closed. What
    /// cannot be done now is done by [`sync`](Self::sync) and [`run`](Self::run); the old server stays in the list, without
    /// new mailboxes, until nothing is left there.
    ///
    /// With `lost` the old server will not come back: it is not waited for, and what lies there is given up. Since it cannot
    /// say then whether this store is an older copy of itself, keys are made anew with every contact.
    ///
    /// # Errors
    /// `NotFound` where `from` is not in the list, `Usage` for a move to the same server; for `to` as
    /// [`add_server`](Self::add_server).
    ///
    /// # Cancel safety
    /// Dropping the future begins the move or does not; what was begun goes on with the next `sync`.
    pub async fn move_server(&self, from: [u8; 32], to: &ServerReference, lost: bool) -> Result<MoveReport> {
        let inner = &self.inner;
        if to.fingerprint == from {
            return Err(Error::new(
                ErrorKind::Usage,
                "this is the same server; `meow server add` changes its URL",
            ));
        }
        let known: Option<ServerRecord> = inner.read(move |txn| load(txn, Table::Servers, &from)).await?;
        known.ok_or_else(server_gone)?;
        self.add_server(to).await?;
        inner
            .write(move |txn, _| {
                // A server that was given up once is not waited for because of a second try.
                let lost = lost || is_lost(txn, &from)?;
                txn.put(Table::Meta, &mark(&from), if lost { LOST } else { &[] })
            })
            .await?;
        Ok(inner.move_from(from).await?.0)
    }
}

impl Inner {
    /// Goes on with all moves that were begun.
    pub(crate) async fn move_on(self: &Arc<Self>) -> Result<()> {
        let mut failed = None;
        for from in self.read(leaving).await? {
            let (mut report, ready) = self.move_from(from).await?;
            // Who has not answered a card yet is no trouble: the user knows.
            report.waiting.truncate(ready);
            failed = report.waiting.pop().map(|(_, e)| e).or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Moves all that can be moved now. Of those who wait, so many of the first could have been moved but for an error; the
    /// others have confirmed no keys yet. Errors are those of the store.
    async fn move_from(self: &Arc<Self>, from: [u8; 32]) -> Result<(MoveReport, usize)> {
        let (mut report, mut early) = (MoveReport::default(), Vec::new());
        for (id, name, ready) in self.read(move |txn| to_move(txn, &from)).await? {
            if !ready {
                let text = format!("the keys with {name} are not confirmed yet");
                early.push((name, Error::new(ErrorKind::Limit, text)));
                continue;
            }
            match self.move_one(id, from).await {
                Ok(()) => {}
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => report.waiting.push((name, e)),
            }
        }
        let ready = report.waiting.len();
        report.waiting.extend(early);
        (report.moving, report.left) = self
            .write(move |txn, _| {
                let all = every_contact(txn)?;
                let at =
                    |record: &ContactRecord| record.machine.mailboxes().iter().any(|m| at_server(m, &from));
                let left = all.iter().filter(|(_, record)| at(record)).count();
                let done = left == 0 && !crate::removal::is_left_over_at(txn, &from)?;
                if done {
                    forget_server(txn, &from)?;
                }
                Ok((left, done))
            })
            .await?;
        report.moving = report.moving.saturating_sub(report.waiting.len());
        Ok((report, ready))
    }

    async fn move_one(self: &Arc<Self>, id: ContactId, from: [u8; 32]) -> Result<()> {
        let (record, lost) = self.read(move |txn| Ok((contact(txn, &id)?, is_lost(txn, &from)?))).await?;
        if !lost {
            return self.rotate(id).await.map(|_| ());
        }
        let gone = own_mailboxes(&record).into_iter().rfind(|mailbox| *mailbox.server.fingerprint() == from);
        match gone {
            Some(gone) => self.give_up(id, &gone, from).await,
            None => Ok(()),
        }
    }

    /// Another mailbox in place of one whose server is lost.
    async fn give_up(self: &Arc<Self>, id: ContactId, gone: &OwnMailbox, from: [u8; 32]) -> Result<()> {
        self.replace_lost(id, gone).await?;
        self.write(move |txn, _| {
            let mut record = contact(txn, &id)?;
            // Where no server took another, the one that is lost stays the only one that the contact knows.
            let left = record.machine.mailboxes().iter().filter(|m| !m.is_current() && at_server(m, &from));
            let old: Vec<_> = left.map(|m| m.lkp.public()).collect();
            old.iter().for_each(|lkp| record.machine.mailbox_closed(lkp));
            mailboxes_changed(txn)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.mailboxes.notify_waiters();
        Ok(())
    }
}

/// The contacts whose newest mailbox is at a server, and whether keys with them are confirmed.
fn to_move(txn: &dyn StoreTxn, from: &[u8; 32]) -> Result<Vec<(ContactId, String, bool)>> {
    let mut found = every_contact(txn)?;
    found.retain(|(_, record)| record.machine.current_mailboxes().any(|m| at_server(m, from)));
    let ready =
        |record: &ContactRecord| matches!(record.machine.status(), Status::Established | Status::Renewing);
    Ok(found.into_iter().map(|(id, record)| (id, record.name.clone(), ready(&record))).collect())
}

fn at_server(mailbox: &Mailbox, fingerprint: &[u8; 32]) -> bool {
    mailbox.server.fingerprint() == fingerprint
}
