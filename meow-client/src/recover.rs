//! When the store and its server disagree: an older copy of the store, a mailbox that the server lost or closed.

use std::sync::Arc;

use meow_core::contact::Status;
use meow_core::identity::ContactId;
use meow_core::request::{Answer, RefusalCode};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::Inner;
use crate::event::EventKind;
use crate::mailbox::{OwnMailbox, Registering, unexpected};
use crate::others::mailboxes_changed;
use crate::outbox::put_items;
use crate::receive::closing_key;
use crate::records::{ContactRecord, MailboxRecord, contact, load, save};
use crate::rotation::overtaken;
use crate::run::of_the_store;
use crate::server::refused;
use crate::servers::OwnServer;
use crate::sessions::forget_sessions;

/// A counter this far ahead is no rolled-back store but a broken or lying server.
pub(crate) const MAX_COUNTER_JUMP: u64 = 1 << 40;
/// Keys of a contact are not made anew more often than this because of somebody's word, in milliseconds.
const RENEWAL_PAUSE_MS: u64 = 60 * 60 * 1000;
/// Most mailboxes of one contact at one server, the retired ones included, that are replaced because of its word.
const MAX_MAILBOXES: usize = 8;

impl Inner {
    /// The server has seen `seen` when `sent` came: another task of this store was faster, or this store is an
    /// old copy. Then keys are made anew, before anything is sealed that could use a key twice; at the latest
    /// when [`proven`](Self::proven) is asked.
    pub(crate) async fn behind(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        sent: u64,
        seen: u64,
    ) -> Result<()> {
        let (key, fresh) = (mailbox.key(), self.is_fresh(&id));
        let old = self
            .write(move |txn, _| {
                let mut counted: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
                // No request of this store had this counter before: if the server knows it, then from another
                // timeline, or because the request came twice. The latter is ruled out once by a renewal too many.
                let twice = seen == sent && !fresh;
                if seen <= counted.counter && !twice {
                    return Ok(false);
                }
                if seen.saturating_sub(counted.counter) > MAX_COUNTER_JUMP {
                    return Err(impossible_counter());
                }
                counted.counter = counted.counter.max(seen);
                save(txn, Table::Mailboxes, &key, &counted)?;
                txn.put(Table::Meta, &old_copy_key(&id), &[])?;
                // Their counters were used in the other timeline.
                forget_sessions(txn, &id)?;
                Ok(true)
            })
            .await?;
        if old {
            self.unset_fresh(&id);
            self.sessions.forget(&id);
        }
        Ok(())
    }

    /// The server has taken a counter: the store is not an older copy, or is known to be one, and then keys are made
    /// anew. What waited for that is done.
    ///
    /// # Errors
    /// `Limit` when the keys were made anew a short while ago: nothing is sealed until they can be again.
    pub(crate) async fn proven(self: &Arc<Self>, id: ContactId) -> Result<()> {
        if self.is_fresh(&id) {
            return Ok(());
        }
        self.write(move |txn, inner| {
            if txn.get(Table::Meta, &old_copy_key(&id))?.is_none() {
                return Ok(());
            }
            let mut record = contact(txn, &id)?;
            may_renew(inner, &record)?;
            txn.delete(Table::Meta, &old_copy_key(&id))?;
            inner.renew(txn, &id, &mut record, EventKind::RolledBack)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.set_fresh(id);
        self.process(id, Vec::new()).await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// The server does not know a mailbox (any more). One that it lost is registered again; one that it does not
    /// take again is replaced by another, on all servers of one's own that take it. Either way keys are made anew: that
    /// tells the contact where to deposit, brings again what was lost with the mailbox, and is needed, since a
    /// server without memory proves nothing about this store.
    ///
    /// # Errors
    /// `denied` when nothing more can be done here.
    pub(crate) async fn unknown_mailbox(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        denied: Error,
    ) -> Result<()> {
        let (key, lkp) = (mailbox.key(), mailbox.lkp.public());
        let Some((record, token, newest)) = self
            .write(move |txn, inner| {
                let record = contact(txn, &id)?;
                let Some(own) = record.machine.mailboxes().iter().find(|m| m.lkp.public() == lkp) else {
                    return Ok(None);
                };
                let (newest, token) = (own.is_current(), own.token);
                let known = txn.get(Table::Meta, &gone_key(&key))?.is_some();
                if txn.get(Table::Meta, &closing_key(&id, &lkp))?.is_some() || (known && !newest) {
                    return Ok(None);
                }
                may_renew(inner, &record)?;
                let mut counted: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
                counted.registered = false;
                save(txn, Table::Mailboxes, &key, &counted)?;
                Ok(Some((record, token, newest)))
            })
            .await?
        else {
            return Err(denied);
        };
        let close = *record.machine.close_key();
        let what = Registering { mailbox, token: token.as_bytes(), close: &close };
        match self.ask_register(&what).await? {
            Answer::Done => self.reopened(id, mailbox).await,
            Answer::Refused(r) if matches!(r.code, RefusalCode::Denied | RefusalCode::NotInvited) => {
                let server = mailbox.server.fingerprint();
                let here = record.machine.mailboxes().iter().filter(|m| m.server.fingerprint() == server);
                let replace = newest && has_keys(&record) && here.count() < MAX_MAILBOXES;
                match replace {
                    true => self.replace(id, mailbox).await?,
                    false => self.tell_gone(id, mailbox).await?,
                }
                Err(denied)
            }
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }

    async fn reopened(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox) -> Result<()> {
        let (key, server) = (mailbox.key(), host(mailbox));
        self.write(move |txn, inner| {
            let mut counted: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
            counted.registered = true;
            save(txn, Table::Mailboxes, &key, &counted)?;
            let mut record = contact(txn, &id)?;
            inner.renew(txn, &id, &mut record, EventKind::MailboxReopened { server })?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Says once that a mailbox is gone for good.
    async fn tell_gone(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox) -> Result<()> {
        let (key, server) = (mailbox.key(), host(mailbox));
        self.write(move |txn, inner| {
            if txn.get(Table::Meta, &gone_key(&key))?.is_some() {
                return Ok(());
            }
            txn.put(Table::Meta, &gone_key(&key), &[])?;
            let name = contact(txn, &id)?.name;
            inner.emit(txn, &name, EventKind::MailboxGone { server })
        })
        .await
    }

    /// Makes another mailbox for a contact in place of one whose server is lost. That cannot say any more whether this store
    /// is an older copy of itself: keys are made anew.
    ///
    /// # Errors
    /// `Limit` when that was done a short while ago.
    pub(crate) async fn replace_lost(self: &Arc<Self>, id: ContactId, gone: &OwnMailbox) -> Result<()> {
        let record = self.read(move |txn| contact(txn, &id)).await?;
        may_renew(self, &record)?;
        self.replace(id, gone).await
    }

    /// Makes another mailbox for a contact in place of one that is gone for good.
    async fn replace(self: &Arc<Self>, id: ContactId, gone: &OwnMailbox) -> Result<()> {
        let inner = Arc::clone(self);
        let found = move |txn: &dyn StoreTxn| Ok((contact(txn, &id)?, inner.usable_servers(txn)?));
        let (record, servers) = self.read(found).await?;
        let servers = servers.iter().map(OwnServer::public).collect::<Result<Vec<_>>>()?;
        let mut plan = record.machine.plan_without(&gone.lkp.public(), servers, &mut *self.random.lock())?;
        for planned in self.planned(&record, &plan) {
            match self.register(planned.registering(&record)).await {
                Ok(()) => {}
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "a server does not take a new mailbox");
                    plan.fall_back(planned.mailbox.server.fingerprint());
                }
            }
        }
        if plan.mailboxes().is_empty() {
            return self.tell_gone(id, gone).await;
        }
        let (key, server) = (gone.key(), host(gone));
        self.write(move |txn, inner| {
            txn.put(Table::Meta, &gone_key(&key), &[])?;
            let mut record = contact(txn, &id)?;
            if !record.machine.move_mailboxes(plan) {
                return Err(overtaken());
            }
            mailboxes_changed(txn)?;
            inner.renew(txn, &id, &mut record, EventKind::MailboxGone { server })?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.mailboxes.notify_waiters();
        self.outbox.notify_one();
        Ok(())
    }

    /// Makes the keys with a contact anew, if there are any yet, and says why.
    pub(crate) fn renew(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
        why: EventKind,
    ) -> Result<()> {
        record.renewed_ms = self.now_ms();
        self.emit(txn, &record.name, why)?;
        if !has_keys(record) {
            return Ok(());
        }
        let opening = record.machine.begin_renewal(&mut *self.random.lock())?;
        put_items(txn, self, id, [opening])
    }
}

pub(crate) fn impossible_counter() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "your server claims an impossible counter for this mailbox; its operator should look into it",
    )
}

/// Prefix of [`old_copy_key`].
pub(crate) const OLD_COPY: &[u8] = b"old copy:";

/// Key of the note that this store was found to be an older copy, as far as a contact is concerned.
fn old_copy_key(id: &ContactId) -> Vec<u8> {
    [OLD_COPY, id.as_bytes()].concat()
}

/// Key of the note that a mailbox at a server is gone for good.
fn gone_key(mailbox: &[u8; 64]) -> Vec<u8> {
    [b"gone:".as_slice(), mailbox].concat()
}

fn host(mailbox: &OwnMailbox) -> String {
    mailbox.server.urls().next().unwrap_or_default().to_owned()
}

/// Keys were confirmed both ways at least once: there is something to renew.
fn has_keys(record: &ContactRecord) -> bool {
    matches!(record.machine.status(), Status::Established | Status::Renewing)
}

/// Bounds what a lying server can set off.
pub(crate) fn may_renew(inner: &Inner, record: &ContactRecord) -> Result<()> {
    let since = inner.now_ms().abs_diff(record.renewed_ms);
    if since > RENEWAL_PAUSE_MS {
        return Ok(());
    }
    let rest = u32::try_from((RENEWAL_PAUSE_MS - since) / 1000 + 1).unwrap_or(u32::MAX);
    Err(Error::new(
        ErrorKind::Limit,
        "the keys with this contact were made anew a short while ago, and its server asks for it again; that is done once an hour",
    )
    .with_retry(Retry::After(rest)))
}
