//! Sessions as the store keeps them, and the counters that are reserved there.

use std::sync::Arc;

use meow_core::crypto::{Secret, VerifyKey};
use meow_core::identity::ContactId;
use meow_core::request::Opened;
use meow_core::session::SessionRole;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::Place;
use crate::client::Inner;
use crate::records::{decode, load, save};
use crate::server::Session;

/// Prefix of the sessions in the store; then contact, role, mailbox, server.
pub(crate) const SESSION: &[u8] = b"session:";
/// Counters that are reserved at once, durably, before the first of them is used. What a process that ends leaves over is
/// never used; a server accepts a counter that is so far ahead.
const BLOCK: u64 = 8;
/// Rows that are read at once.
const PAGE: usize = 256;

/// A session as the store keeps it.
#[derive(Serialize, Deserialize)]
struct SessionRecord {
    secret: Secret,
    /// The first counter that is not reserved.
    next: u64,
    /// Counters that are reserved at once.
    block: u64,
    opened_ms: u64,
    ends_ms: u64,
}

impl SessionRecord {
    /// Reserves the next counters. They may be used once the record is stored.
    fn reserve(&mut self) -> Session {
        let from = self.next;
        self.next = from.saturating_add(self.block);
        Session::new(&self.secret, from..self.next, self.ends_ms)
    }

    /// A clock that went back may tell too little: then another session is opened.
    fn lasts(&self, now_ms: u64) -> bool {
        (self.opened_ms..self.ends_ms).contains(&now_ms)
    }
}

pub(super) fn of_contact(contact: &ContactId) -> Vec<u8> {
    [SESSION, contact.as_bytes()].concat()
}

pub(super) fn of_mailbox(contact: &ContactId, role: SessionRole, mailbox: &VerifyKey) -> Vec<u8> {
    [SESSION, contact.as_bytes(), &[role as u8], mailbox.as_bytes()].concat()
}

/// Whether there is a session that lasts.
pub(crate) fn is_kept(txn: &dyn StoreTxn, place: &Place<'_>, now_ms: u64) -> Result<bool> {
    let record: Option<SessionRecord> = load(txn, Table::Meta, &place.key())?;
    Ok(record.is_some_and(|record| record.lasts(now_ms)))
}

/// Forgets the sessions for a contact in the store.
pub(crate) fn forget_sessions(txn: &mut dyn StoreTxn, contact: &ContactId) -> Result<()> {
    delete(txn, &of_contact(contact))
}

/// Forgets the sessions for a mailbox of one's own that was closed.
pub(crate) fn forget_closed(txn: &mut dyn StoreTxn, contact: &ContactId, mailbox: &VerifyKey) -> Result<()> {
    delete(txn, &of_mailbox(contact, SessionRole::Owner, mailbox))
}

fn delete(txn: &mut dyn StoreTxn, prefix: &[u8]) -> Result<()> {
    loop {
        let rows = txn.scan(Table::Meta, prefix, None, PAGE, false)?;
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter().try_for_each(|(key, _)| txn.delete(Table::Meta, key))?;
    }
}

/// The sessions whose time is over.
fn expired(txn: &dyn StoreTxn, now_ms: u64) -> Result<Vec<Vec<u8>>> {
    let (mut found, mut after): (_, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        let rows = txn.scan(Table::Meta, SESSION, after.as_deref(), PAGE, false)?;
        let Some((last, _)) = rows.last() else { return Ok(found) };
        after = Some(last.clone());
        for (key, value) in rows {
            if !decode::<SessionRecord>(Table::Meta, &value)?.lasts(now_ms) {
                found.push(key);
            }
        }
    }
}

impl Inner {
    /// Takes counters of a session in the store; what this gives is durably ours.
    pub(super) async fn reserve(self: &Arc<Self>, key: &[u8]) -> Result<Option<Session>> {
        let key = key.to_vec();
        self.write(move |txn, inner| {
            let Some(mut record) = load::<SessionRecord>(txn, Table::Meta, &key)? else { return Ok(None) };
            if !record.lasts(inner.now_ms()) {
                txn.delete(Table::Meta, &key)?;
                return Ok(None);
            }
            let session = record.reserve();
            save(txn, Table::Meta, &key, &record)?;
            Ok(Some(session))
        })
        .await
    }

    /// Keeps a session that was opened, with its first counters reserved.
    pub(super) async fn keep_opened(
        self: &Arc<Self>,
        key: Vec<u8>,
        secret: Secret,
        opened: Opened,
    ) -> Result<Session> {
        let block = BLOCK.min(u64::from(opened.ahead) / 2);
        if block == 0 {
            return Err(Error::new(ErrorKind::Malformed, "a server grants a session without counters"));
        }
        self.write(move |txn, inner| {
            let opened_ms = inner.now_ms();
            // Clocks differ in speed, and the answer was under way.
            let lasts = u64::from(opened.lasts_secs).saturating_mul(950);
            let ends_ms = opened_ms.saturating_add(lasts);
            let mut record = SessionRecord { secret, next: 0, block, opened_ms, ends_ms };
            let session = record.reserve();
            save(txn, Table::Meta, &key, &record)?;
            Ok(session)
        })
        .await
    }

    /// Forgets the sessions whose time is over.
    pub(crate) async fn forget_expired_sessions(self: &Arc<Self>) -> Result<()> {
        let now = self.now_ms();
        if self.read(move |txn| expired(txn, now)).await?.is_empty() {
            return Ok(());
        }
        self.write(move |txn, _| expired(txn, now)?.iter().try_for_each(|key| txn.delete(Table::Meta, key)))
            .await
    }

    /// Forgets a session, unless another has taken its place.
    pub(super) async fn forget_session(self: &Arc<Self>, key: Vec<u8>, session: Arc<Session>) -> Result<()> {
        self.write(move |txn, _| match load::<SessionRecord>(txn, Table::Meta, &key)? {
            Some(record) if session.is_of(&record.secret) => txn.delete(Table::Meta, &key),
            _ => Ok(()),
        })
        .await
    }
}
