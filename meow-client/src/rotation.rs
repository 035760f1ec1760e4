//! Rotating lookup keys: a new mailbox is made, the contact is told, and the old one is closed once it knows.

use std::sync::Arc;
use std::time::Duration;

use meow_core::contact::{Mailbox, MailboxPlan};
use meow_core::crypto::VerifyKey;
use meow_core::identity::ContactId;
use meow_core::lane::MAX_SERVERS;
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::{Client, Inner};
use crate::contacts::own_mailboxes;
use crate::event::EventKind;
use crate::fresh::LeftOut;
use crate::hearing::is_away;
use crate::mailbox::{OwnMailbox, Registering};
use crate::moving::is_lost;
use crate::others::mailboxes_changed;
use crate::outbox::put_items;
use crate::postponed::{Rotated, postpone};
use crate::receive::CLOSING;
use crate::records::{ContactRecord, contact, contact_of, save};
use crate::route::Ways;
use crate::run::of_the_store;
use crate::servers::OwnServer;
use crate::sessions::forget_closed;

impl Client {
    /// Moves the mailbox for a contact to a new lookup key, on the servers of one's own as they are now, at most four. Both
    /// mailboxes are polled until the contact has seen the change, then the old one is closed. Servers that do not answer
    /// are left out, as long as enough do for the copies that the policy asks for; they are added once they answer.
    ///
    /// # Errors
    /// `NotFound`, `Usage` before the contact is established or without a server; `Unreachable` or `WrongPeer` where too few
    /// servers answer, and for what else a server refuses the mailbox. Nothing is changed then.
    ///
    /// # Cancel safety
    /// Dropping the future rotates or does not; a mailbox at a server may be left over.
    pub async fn rotate_mailbox(&self, name: &str) -> Result<Rotated> {
        let name = name.to_owned();
        let id = self.inner.read(move |txn| contact_of(txn, &name)).await?;
        Ok(Rotated { left_out: self.inner.rotate(id).await? })
    }
}

impl Inner {
    /// Moves the mailbox for a contact to a new lookup key, on the servers that stay. Gives those that do not answer, which are
    /// added later.
    pub(crate) async fn rotate(self: &Arc<Self>, id: ContactId) -> Result<Vec<LeftOut>> {
        let inner = Arc::clone(self);
        let found = move |txn: &dyn StoreTxn| Ok((contact(txn, &id)?, inner.usable_servers(txn)?));
        let (record, servers) = self.read(found).await?;
        let servers = servers.iter().take(MAX_SERVERS).map(OwnServer::public).collect::<Result<Vec<_>>>()?;
        if servers.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "a mailbox needs a server; add one with `meow server add REFERENCE`",
            ));
        }
        // Sealing a statement is sealing: the store must be current. Asked first, so that nothing is left over elsewhere.
        self.prove_current(id).await?;
        let least = usize::from(record.policy.copies).min(servers.len()).max(1);
        let mut plan = record.machine.plan_anew(servers, &mut *self.random.lock())?;
        let (mut opened, mut away) = (Vec::new(), Vec::new());
        let planned = self.planned(&record, &plan);
        let most_away = planned.len() - least;
        for planned in planned {
            let server = planned.mailbox.server.clone();
            match self.register(planned.registering(&record)).await {
                Ok(()) => opened.push(planned.mailbox),
                Err(e) if is_away(&e) && away.len() < most_away => {
                    plan.fall_back(server.fingerprint());
                    away.push((server, e));
                }
                Err(e) => {
                    // The next try has other keys: it would leave these behind each time that one of the servers is away.
                    self.close_unused(&opened).await?;
                    return Err(e);
                }
            }
        }
        let later: Vec<_> = away.iter().map(|(server, _)| server.clone()).collect();
        // First: what is noted in vain is forgotten again.
        self.write(move |txn, _| postpone(txn, &id, &later)).await?;
        self.tell_rotation(id, plan, None).await?;
        Ok(away.iter().map(|(server, e)| LeftOut::new(server, &e.to_string())).collect())
    }

    /// Closes mailboxes that nobody was told of, as far as that can be done now.
    pub(crate) async fn close_unused(self: &Arc<Self>, opened: &[OwnMailbox]) -> Result<()> {
        for mailbox in opened {
            match self.close(mailbox).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => tracing::debug!(kind = e.kind().name(), "a mailbox that is not used stays open"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The mailboxes of a plan, none of whose servers is the first of a chain that registers another.
    pub(crate) fn planned(&self, record: &ContactRecord, plan: &MailboxPlan) -> Vec<Planned> {
        let servers: Vec<_> = plan.mailboxes().iter().map(|mailbox| mailbox.server.clone()).collect();
        let ways = Ways::of(record).and_on(&servers);
        let planned =
            |mailbox: &Mailbox| Planned { token: mailbox.token, mailbox: OwnMailbox::new(mailbox, &ways) };
        plan.mailboxes().iter().map(planned).collect()
    }

    /// Tells a contact of mailboxes that are registered, and the application why.
    ///
    /// # Errors
    /// `Limit` where they were moved meanwhile by somebody else.
    pub(crate) async fn tell_rotation(
        self: &Arc<Self>,
        id: ContactId,
        plan: MailboxPlan,
        why: Option<EventKind>,
    ) -> Result<()> {
        self.write(move |txn, inner| {
            let mut record = contact(txn, &id)?;
            inner.choose_form(txn, &mut record)?;
            let out = record.machine.begin_rotation(plan, &mut *inner.random.lock())?;
            let out = out.ok_or_else(overtaken)?;
            put_items(txn, inner, &id, [out])?;
            if let Some(why) = why {
                inner.emit(txn, &record.name, why)?;
            }
            mailboxes_changed(txn)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.mailboxes.notify_waiters();
        self.outbox.notify_one();
        Ok(())
    }
}

/// A mailbox that is about to be registered.
pub(crate) struct Planned {
    pub(crate) mailbox: OwnMailbox,
    token: Fixed<16>,
}

impl Planned {
    pub(crate) fn registering<'a>(&'a self, record: &'a ContactRecord) -> Registering<'a> {
        Registering {
            mailbox: &self.mailbox,
            token: self.token.as_bytes(),
            close: record.machine.close_key(),
        }
    }
}

/// Another process, or another task of this one, has moved the mailboxes.
pub(crate) fn overtaken() -> Error {
    Error::new(ErrorKind::Limit, "the mailboxes of this contact were moved just now; try again")
        .with_retry(Retry::Now)
}

impl Inner {
    /// Closes the mailboxes that contacts deposit into no more. One that cannot be closed now is tried again.
    pub(crate) async fn close_retired(self: &Arc<Self>) -> Result<()> {
        let marks = self.read(|txn| txn.scan(Table::Meta, CLOSING, None, 64, false)).await?;
        let mut failed = None;
        for (key, _) in marks {
            let (id, lkp) = split(&key)?;
            match self.close_one(id, lkp, key).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => failed = Some(e),
                Ok(()) => self.mailboxes.notify_waiters(),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn close_one(self: &Arc<Self>, id: ContactId, lkp: [u8; 32], mark: Vec<u8>) -> Result<()> {
        let mailboxes = self
            .read(move |txn| Ok(own_mailboxes(&contact(txn, &id)?)))
            .await
            .or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) })?;
        for mailbox in mailboxes.iter().filter(|m| *m.lkp.public().as_bytes() == lkp) {
            // What was deposited before the contact knew goes with the mailbox otherwise.
            let server = *mailbox.server.fingerprint();
            if self.read(move |txn| is_lost(txn, &server)).await? {
                continue;
            }
            match self.fetch(id, mailbox, Duration::ZERO).await {
                Err(e) if e.kind() != ErrorKind::Refused => return Err(e),
                _ => self.close(mailbox).await?,
            }
        }
        self.write(move |txn, _| {
            txn.delete(Table::Meta, &mark)?;
            let lkp = VerifyKey::from_bytes(&lkp)?;
            forget_closed(txn, &id, &lkp)?;
            let mut record = match contact(txn, &id) {
                Ok(record) => record,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            };
            record.machine.mailbox_closed(&lkp);
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await
    }
}

/// Contact and Lkp of a mark.
fn split(key: &[u8]) -> Result<(ContactId, [u8; 32])> {
    let damaged = || Error::new(ErrorKind::Damaged, "the store holds a damaged mark; restore a backup");
    let rest = key.strip_prefix(CLOSING).ok_or_else(damaged)?;
    let (id, lkp) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    Ok((ContactId::from_bytes(*id), lkp.try_into().map_err(|_| damaged())?))
}
