//! When a server of one's own stays silent: another one takes its place, and contacts are told.

use std::collections::BTreeSet;
use std::sync::Arc;

use meow_core::contact::{MailboxPlan, Status};
use meow_core::identity::ContactId;
use meow_core::lane::ServerRef;
use meow_core::store::{StoreTxn, Table};
use meow_core::{ErrorKind, Result};

use crate::client::Inner;
use crate::contacts::every_contact;
use crate::event::EventKind;
use crate::hearing::{any_silent, silence};
use crate::mailbox::OwnMailbox;
use crate::others::mailboxes_changed;
use crate::records::{ContactRecord, contact, load, save};
use crate::recover::may_renew;
use crate::reused::Declined;
use crate::rotation::overtaken;
use crate::run::of_the_store;
use crate::servers::{OwnServer, staying_servers};

/// Prefix of the notes that the user knows of a silent server that nothing can replace; then contact and fingerprint. The
/// value says since when it is silent.
pub(crate) const NO_SPARE: &[u8] = b"no spare:";

/// A contact with mailboxes at servers that are dead.
struct Struck {
    id: ContactId,
    /// Servers of its mailboxes that are not.
    alive: Vec<ServerRef>,
    dead: Vec<ServerRef>,
}

impl Inner {
    /// Puts other servers of one's own in the place of those that stay silent, for every contact with a mailbox there.
    ///
    /// # Errors
    /// Those of the store; otherwise the last reason why a contact's mailbox could not be replaced now.
    pub(crate) async fn refill(self: &Arc<Self>) -> Result<()> {
        if !self.read(any_silent).await? {
            return Ok(());
        }
        let inner = Arc::clone(self);
        let (struck, spares) = self.read(move |txn| inner.struck(txn)).await?;
        let mut failed = None;
        for one in struck {
            match self.refill_one(one, &spares).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => failed = Some(e),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The contacts who are struck, and the servers that could take a place.
    fn struck(&self, txn: &dyn StoreTxn) -> Result<(Vec<Struck>, Vec<OwnServer>)> {
        let (mut struck, mut dead) = (Vec::new(), BTreeSet::new());
        for (id, record) in every_contact(txn)? {
            if !matches!(record.machine.status(), Status::Established | Status::Renewing) {
                continue;
            }
            let mut one = Struck { id, alive: Vec::new(), dead: Vec::new() };
            for mailbox in record.machine.current_mailboxes() {
                let server = mailbox.server.fingerprint();
                if dead.contains(server) || self.is_dead(txn, server, self.refill_after_ms)? {
                    dead.insert(*server);
                    one.dead.push(mailbox.server.clone());
                } else {
                    one.alive.push(mailbox.server.clone());
                }
            }
            if !one.dead.is_empty() {
                struck.push(one);
            }
        }
        let mut spares = Vec::new();
        for server in if struck.is_empty() { Vec::new() } else { staying_servers(txn)? } {
            let fingerprint = &server.reference.fingerprint;
            if !dead.contains(fingerprint) && !self.is_dead(txn, fingerprint, self.refill_after_ms)? {
                spares.push(server);
            }
        }
        Ok((struck, spares))
    }

    /// A server that does not take the mailbox is passed over for the next one.
    async fn refill_one(self: &Arc<Self>, struck: Struck, spares: &[OwnServer]) -> Result<()> {
        let Struck { id, alive, dead } = struck;
        let used = |spare: &OwnServer| alive.iter().any(|s| *s.fingerprint() == spare.reference.fingerprint);
        let spares = spares.iter().filter(|spare| !used(spare)).map(OwnServer::public);
        let mut spares: Vec<_> = spares.collect::<Result<_>>()?;
        if spares.is_empty() {
            return self.tell_no_spare(id, dead).await;
        }
        let record = self.read(move |txn| contact(txn, &id)).await?;
        // Sealing a statement is sealing: the store must be current. Where no server can say so any more, keys are made anew.
        match alive.is_empty() {
            true => may_renew(self, &record)?,
            false => self.prove_current(id).await?,
        }
        let mut declined = None;
        while let Some((first, to)) = dead.first().zip(spares.first()) {
            let why = EventKind::MailboxMoved { from: url(first), to: url(to) };
            let taken = spares.get(..dead.len()).unwrap_or(&spares);
            // What is dead and cannot be replaced stays: it may come back.
            let stay = dead.get(taken.len()..).unwrap_or_default();
            let servers: Vec<_> = alive.iter().chain(taken).chain(stay).cloned().collect();
            let (plan, mut anew) = (record.machine.plan_on(servers), Vec::new());
            let moved = self.move_to(id, &record, plan, why, alive.is_empty(), &mut anew).await;
            if !matches!(&moved, Err(e) if of_the_store(e)) && !matches!(moved, Ok(None)) {
                // The next try makes other keys.
                self.close_unused(&anew).await?;
            }
            let Some(Declined { server, why }) = moved? else {
                // Where one is lacking still, it is said.
                return declined.filter(|_| !stay.is_empty()).map_or(Ok(()), Err);
            };
            let before = spares.len();
            spares.retain(|spare| *spare.fingerprint() != server);
            if spares.len() == before {
                return Err(why);
            }
            declined = Some(why);
        }
        self.tell_no_spare(id, dead).await?;
        declined.map_or(Ok(()), Err)
    }

    /// Registers the mailboxes of a plan and tells the contact, by new keys where none of the present ones can be reached.
    /// Gives the server that takes none, if one does not: nothing is moved then.
    async fn move_to(
        self: &Arc<Self>,
        id: ContactId,
        record: &ContactRecord,
        mut plan: MailboxPlan,
        why: EventKind,
        by_renewal: bool,
        anew: &mut Vec<OwnMailbox>,
    ) -> Result<Option<Declined>> {
        if let Some(declined) = self.register_plan(id, record, &mut plan, anew).await? {
            return Ok(Some(declined));
        }
        if !by_renewal {
            self.tell_rotation(id, plan, Some(why)).await?;
            return Ok(None);
        }
        self.write(move |txn, inner| {
            let mut record = contact(txn, &id)?;
            may_renew(inner, &record)?;
            if !record.machine.move_mailboxes(plan) {
                return Err(overtaken());
            }
            mailboxes_changed(txn)?;
            inner.renew(txn, &id, &mut record, why)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)
        })
        .await?;
        self.mailboxes.notify_waiters();
        self.outbox.notify_one();
        Ok(None)
    }

    async fn tell_no_spare(self: &Arc<Self>, id: ContactId, dead: Vec<ServerRef>) -> Result<()> {
        self.write(move |txn, inner| {
            let name = match contact(txn, &id) {
                Ok(record) => record.name,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            };
            for server in &dead {
                let Some(silence) = silence(txn, server.fingerprint())? else { continue };
                let key = [NO_SPARE, id.as_bytes(), server.fingerprint()].concat();
                if load::<u64>(txn, Table::Meta, &key)? != Some(silence.since_ms) {
                    save(txn, Table::Meta, &key, &silence.since_ms)?;
                    inner.emit(txn, &name, EventKind::ServerSilent { server: url(server) })?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn url(server: &ServerRef) -> String {
    server.urls().next().unwrap_or_default().to_owned()
}
