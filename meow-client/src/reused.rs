//! Keys of new mailboxes that a newer copy of this store, which is lost, has used: one that it left open is taken over, and in
//! the place of one that it closed comes one under fresh keys.

use std::sync::Arc;

use meow_core::contact::MailboxPlan;
use meow_core::identity::ContactId;
use meow_core::request::RefusalCode;
use meow_core::store::Table;
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::mailbox::OwnMailbox;
use crate::records::{ContactRecord, MailboxRecord, load, save};
use crate::recover::{MAX_COUNTER_JUMP, impossible_counter};
use crate::rotation::Planned;
use crate::run::of_the_store;
use crate::server::refused;

/// Prefix of the notes on servers that refused a mailbox under fresh keys too; then contact and fingerprint. The value says
/// when, in Unix milliseconds.
pub(crate) const REFUSED_ANEW: &[u8] = b"refused anew:";
/// Fresh keys are not tried at such a server more often than this, in milliseconds.
const ANEW_PAUSE_MS: u64 = 60 * 60 * 1000;

/// A server that does not take a mailbox of a plan.
#[derive(Debug)]
pub(crate) struct Declined {
    /// Its fingerprint.
    pub(crate) server: [u8; 32],
    pub(crate) why: Error,
}

impl Inner {
    /// Registers the mailboxes of a plan, until a server does not take one: then it is said which, and why. `anew` gets those
    /// that were, or may have been, opened under keys that the plan was not made with.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn register_plan(
        self: &Arc<Self>,
        id: ContactId,
        record: &ContactRecord,
        plan: &mut MailboxPlan,
        anew: &mut Vec<OwnMailbox>,
    ) -> Result<Option<Declined>> {
        for planned in self.planned(record, plan) {
            match self.register_planned(id, record, plan, &planned, anew).await {
                Ok(()) => {}
                Err(e) if of_the_store(&e) => return Err(e),
                Err(why) => {
                    return Ok(Some(Declined { server: *planned.mailbox.server.fingerprint(), why }));
                }
            }
        }
        Ok(None)
    }

    async fn register_planned(
        self: &Arc<Self>,
        id: ContactId,
        record: &ContactRecord,
        plan: &mut MailboxPlan,
        planned: &Planned,
        anew: &mut Vec<OwnMailbox>,
    ) -> Result<()> {
        let Some(mut refusal) = self.try_register(&planned.registering(record)).await? else { return Ok(()) };
        let (mailbox, lkp) = (&planned.mailbox, planned.mailbox.lkp.public());
        let known = record.machine.mailboxes().iter().any(|m| m.lkp.public() == lkp);
        if !known && refusal.code == RefusalCode::StaleCounter {
            self.count_from(mailbox, refusal.seen).await?;
            match self.try_register(&planned.registering(record)).await? {
                None => return Ok(()),
                Some(again) => refusal = again,
            }
        }
        let closed = !known && refusal.code == RefusalCode::Denied;
        if !closed || !self.may_go_anew(id, mailbox).await? {
            return Err(refused(&mailbox.server, refusal));
        }
        self.register_anew(id, record, plan, mailbox, anew).await
    }

    /// The server counts requests of a mailbox from here on.
    async fn count_from(self: &Arc<Self>, mailbox: &OwnMailbox, seen: u64) -> Result<()> {
        let key = mailbox.key();
        self.write(move |txn, _| {
            let mut counted: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
            if seen.saturating_sub(counted.counter) > MAX_COUNTER_JUMP {
                return Err(impossible_counter());
            }
            counted.counter = counted.counter.max(seen);
            save(txn, Table::Mailboxes, &key, &counted)
        })
        .await
    }

    async fn may_go_anew(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox) -> Result<bool> {
        let note = note_key(&id, mailbox);
        let refused: Option<u64> = self.read(move |txn| load(txn, Table::Meta, &note)).await?;
        Ok(refused.is_none_or(|at| self.now_ms().abs_diff(at) >= ANEW_PAUSE_MS))
    }

    /// One try under fresh keys, at the server of a mailbox that it denies.
    async fn register_anew(
        self: &Arc<Self>,
        id: ContactId,
        record: &ContactRecord,
        plan: &mut MailboxPlan,
        denied: &OwnMailbox,
        anew: &mut Vec<OwnMailbox>,
    ) -> Result<()> {
        let server = denied.server.fingerprint();
        plan.make_anew(server, &mut *self.random.lock())?;
        let planned =
            self.planned(record, plan).into_iter().find(|p| p.mailbox.server.fingerprint() == server);
        let planned =
            planned.ok_or_else(|| Error::new(ErrorKind::Bug, "a plan lost a mailbox; please report this"))?;
        // Whatever is answered, and also if nothing is, it may be there.
        anew.push(planned.mailbox.clone());
        let refusal = self.try_register(&planned.registering(record)).await?;
        let (note, old, taken, now) = (note_key(&id, denied), denied.key(), refusal.is_none(), self.now_ms());
        self.write(move |txn, _| {
            // There is nothing under that key whose requests could be counted.
            txn.delete(Table::Mailboxes, &old)?;
            match taken {
                true => txn.delete(Table::Meta, &note),
                false => save(txn, Table::Meta, &note, &now),
            }
        })
        .await?;
        refusal.map_or(Ok(()), |refusal| Err(refused(&denied.server, refusal)))
    }
}

fn note_key(id: &ContactId, mailbox: &OwnMailbox) -> Vec<u8> {
    [REFUSED_ANEW, id.as_bytes(), mailbox.server.fingerprint()].concat()
}
