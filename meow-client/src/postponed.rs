//! Servers of one's own that a rotation had to leave out: a contact is told of a mailbox there as soon as they answer.

use std::collections::HashSet;
use std::sync::Arc;

use meow_core::contact::Status;
use meow_core::identity::ContactId;
use meow_core::lane::{MAX_SERVERS, ServerRef};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::fresh::LeftOut;
use crate::hearing::is_away;
use crate::records::{ContactRecord, contact, decode, save};
use crate::run::of_the_store;
use crate::servers::{OwnServer, staying_servers};

/// Prefix of the notes on servers to be added; then contact and fingerprint. The value is empty, or says when it failed
/// last though the server answered, in Unix milliseconds.
pub(crate) const POSTPONED: &[u8] = b"postponed:";
/// Where that is so, it is not tried more often than this, in milliseconds.
const FAILED_PAUSE_MS: u64 = 60 * 60 * 1000;
/// Notes that are read at once.
const PAGE: usize = 64;

/// What a rotation did ([`rotate_mailbox`](crate::Client::rotate_mailbox)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotated {
    /// Servers of one's own that do not answer: the contact is told of a mailbox there once they do, by
    /// [`sync`](crate::Client::sync) and [`run`](crate::Client::run).
    pub left_out: Vec<LeftOut>,
}

/// Notes which servers are to be added for a contact, in place of what was noted before.
pub(crate) fn postpone(txn: &mut dyn StoreTxn, id: &ContactId, servers: &[ServerRef]) -> Result<()> {
    let prefix = [POSTPONED, id.as_bytes()].concat();
    for (key, _) in txn.scan(Table::Meta, &prefix, None, usize::MAX, false)? {
        txn.delete(Table::Meta, &key)?;
    }
    servers
        .iter()
        .try_for_each(|server| txn.put(Table::Meta, &[prefix.as_slice(), server.fingerprint()].concat(), &[]))
}

/// What is to be done about one of them.
enum Next {
    /// It is asked.
    Add(Box<ContactRecord>, ServerRef),
    /// Later.
    Wait,
    /// It has a mailbox already, is to have none any more, or others have its place.
    Forget,
}

impl Inner {
    /// Adds the servers that answer by now. One that does not is asked for one contact, and not for all who wait for it.
    ///
    /// # Errors
    /// Those of the store; otherwise the last reason why one was not added.
    pub(crate) async fn add_postponed(self: &Arc<Self>) -> Result<()> {
        let (mut failed, mut away, mut after) = (None, HashSet::new(), None::<Vec<u8>>);
        loop {
            let from = after.take();
            let notes =
                self.read(move |txn| txn.scan(Table::Meta, POSTPONED, from.as_deref(), PAGE, false)).await?;
            for (note, value) in notes {
                after = Some(note.clone());
                let (id, server) = split(&note)?;
                if away.contains(&server) || self.failed_lately(&value)? {
                    continue;
                }
                match self.add_one(id, server, note.clone()).await {
                    Err(e) if of_the_store(&e) => return Err(e),
                    Err(e) => {
                        if is_away(&e) {
                            away.insert(server);
                        } else {
                            self.write(move |txn, inner| save(txn, Table::Meta, &note, &inner.now_ms()))
                                .await?;
                        }
                        failed = Some(e);
                    }
                    Ok(()) => {}
                }
            }
            if after.is_none() {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    fn failed_lately(&self, value: &[u8]) -> Result<bool> {
        if value.is_empty() {
            return Ok(false);
        }
        let at: u64 = decode(Table::Meta, value)?;
        Ok(self.now_ms().abs_diff(at) < FAILED_PAUSE_MS)
    }

    async fn add_one(self: &Arc<Self>, id: ContactId, server: [u8; 32], note: Vec<u8>) -> Result<()> {
        let inner = Arc::clone(self);
        let (record, server) = match self.read(move |txn| inner.next_of_postponed(txn, &id, &server)).await? {
            Next::Add(record, server) => (record, server),
            Next::Wait => return Ok(()),
            Next::Forget => return self.write(move |txn, _| txn.delete(Table::Meta, &note)).await,
        };
        // Sealing a statement is sealing: the store must be current.
        self.prove_current(id).await?;
        let present = record.machine.current_mailboxes().map(|mailbox| mailbox.server.clone());
        let plan = record.machine.plan_on(present.chain([server.clone()]));
        let new = self.planned(&record, &plan);
        for planned in new.iter().filter(|p| p.mailbox.server.fingerprint() == server.fingerprint()) {
            self.register(planned.registering(&record)).await?;
        }
        self.tell_rotation(id, plan, None).await?;
        self.write(move |txn, _| txn.delete(Table::Meta, &note)).await
    }

    fn next_of_postponed(&self, txn: &dyn StoreTxn, id: &ContactId, server: &[u8; 32]) -> Result<Next> {
        let record = match contact(txn, id) {
            Ok(record) => record,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Next::Forget),
            Err(e) => return Err(e),
        };
        let present = record.machine.current_mailboxes();
        let (mut count, mut there) = (0, false);
        present.for_each(|mailbox| {
            count += 1;
            there |= mailbox.server.fingerprint() == server;
        });
        let own = staying_servers(txn)?.into_iter().find(|own| own.reference.fingerprint == *server);
        let Some(own) = own.filter(|_| !there && count < MAX_SERVERS) else { return Ok(Next::Forget) };
        if record.machine.status() != Status::Established || self.hearing.rests(server, self.now_ms()) {
            return Ok(Next::Wait);
        }
        Ok(Next::Add(Box::new(record), OwnServer::public(&own)?))
    }
}

/// Contact and fingerprint of a note.
fn split(key: &[u8]) -> Result<(ContactId, [u8; 32])> {
    let damaged = || Error::new(ErrorKind::Damaged, "the store holds a damaged note; restore a backup");
    let rest = key.strip_prefix(POSTPONED).ok_or_else(damaged)?;
    let (id, server) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    Ok((ContactId::from_bytes(*id), server.try_into().map_err(|_| damaged())?))
}
