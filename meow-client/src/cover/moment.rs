//! What leaves at a moment: what waits for the contact, or else a message that says nothing.

use std::sync::Arc;

use meow_core::contact::Status;
use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, ServerRef};
use meow_core::policy::Policy;
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::{CostClass, LinkProfile};
use meow_core::{Error, ErrorKind, Result, Retry};

use super::plan::{Kind, take};
use crate::client::Inner;
use crate::deposit::Sending;
use crate::flush::Next;
use crate::outbox::put;
use crate::records::{ContactRecord, OutboxEntry, Stage, contact, save};
use crate::run::of_the_store;

/// Whether what is sent to a contact leaves at moments alone. Before its keys are confirmed for the first time there is
/// nothing else that could leave at the others.
pub(crate) fn at_moments(record: &ContactRecord) -> bool {
    record.policy.cover.is_some() && matches!(record.machine.status(), Status::Established | Status::Renewing)
}

/// Whether loops and pulls through chains, each of which is counted, stand for the count that follows what is sealed
/// elsewhere. A packet right behind each message would tell messages from loops.
pub(crate) fn loops_count(policy: &Policy) -> bool {
    policy.loops.is_some() && !policy.shows_to_servers()
}

/// Why nothing but what waits is sent to a contact at moments, where that is so.
pub(crate) fn stands_still(inner: &Inner, record: &ContactRecord) -> Option<Error> {
    // Where a chain leads there, what the last link is like is not for this device to see.
    if !record.policy.shows_to_servers() {
        return None;
    }
    let servers = record.machine.deposit_target().into_iter().flat_map(Lookup::servers);
    let urls = servers.flat_map(ServerRef::endpoints);
    let mut links = urls.filter_map(|url| inner.servers.estimate(&url).ok()).peekable();
    (links.peek().is_some() && links.all(|link| is_scarce(&link))).then(|| {
        let text = "the contact's servers are reached by radio alone, whose airtime is too scarce for cover traffic: what \
                    waits leaves at the moments, and nothing else does";
        Error::new(ErrorKind::Limit, text).with_retry(Retry::Never)
    })
}

fn is_scarce(link: &LinkProfile) -> bool {
    link.cost == CostClass::Scarce || link.airtime_ppm.is_some() || crate::form::is_thin(link)
}

/// Why messages wait where nothing is wrong.
pub(crate) fn for_a_moment(record: &ContactRecord) -> Error {
    let pause = record.policy.cover.map(|pause| pause.to_string()).unwrap_or_default();
    Error::new(
        ErrorKind::Limit,
        format!(
            "it leaves at a moment of cover traffic, which is {pause} away on average while this program runs"
        ),
    )
    .with_retry(Retry::After(60))
}

impl Inner {
    /// Sends what a moment calls for, if it is one. Gives the number of deposits that were confirmed.
    pub(super) async fn send_at_moment(self: &Arc<Self>, id: ContactId, counting: bool) -> Result<usize> {
        let fresh = self.is_fresh(&id);
        let mut next = self
            .write(move |txn, inner| match take(txn, inner, Kind::Send, &id)? {
                true => inner.next_at_moment(txn, &id, fresh),
                false => Ok(Next::Nothing),
            })
            .await?;
        if matches!(next, Next::Prove) {
            if let Err(e) = self.prove_current(id).await {
                self.note_waiting(id, &e).await?;
                return Err(e);
            }
            next = self.write(move |txn, inner| inner.next_at_moment(txn, &id, true)).await?;
        }
        if matches!(next, Next::Copy) {
            return self.copy_at_moment(id).await;
        }
        let Next::Deposit { key, item, target, ways, sealed } = next else { return Ok(0) };
        let passed = self.pass_on(&Sending { contact: id, ways: &ways, target: &target, item: &item }).await;
        let sent = match passed {
            Ok(passed) => self.stored(id, key, passed).await.map(|()| 1),
            Err(e) if of_the_store(&e) => return Err(e),
            Err(e) => self.note_waiting(id, &e).await.and(Err(e)),
        };
        if counting
            && sealed
            && let Err(e) = self.count(id).await
        {
            if of_the_store(&e) {
                return Err(e);
            }
            tracing::debug!(kind = e.kind().name(), "a server was not told of a new count");
        }
        sent
    }

    /// What waits, or a copy that is lacking, or what is due by itself, or a message that says nothing: sealed, and in the
    /// outbox.
    fn next_at_moment(&self, txn: &mut dyn StoreTxn, id: &ContactId, fresh: bool) -> Result<Next> {
        let mut record = match contact(txn, id) {
            Ok(record) => record,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Next::Nothing),
            Err(e) => return Err(e),
        };
        match self.next_of(txn, id, &mut record, fresh)? {
            Next::Nothing if self.could_copy(txn, &record)? => return Ok(Next::Copy),
            Next::Nothing if record.machine.status() != Status::Established => return Ok(Next::Nothing),
            Next::Nothing if !fresh => return Ok(Next::Prove),
            Next::Nothing => {}
            next => return Ok(next),
        }
        self.choose_form(txn, &mut record)?;
        let (fill, now) = (stands_still(self, &record).is_none(), self.now_ms());
        let Some(out) = record.machine.cover(record.policy.receipts, fill, now, &mut *self.random.lock())?
        else {
            return Ok(Next::Nothing);
        };
        save(txn, Table::Contacts, id.as_bytes(), &record)?;
        self.counted.seals(id);
        let stage = Stage::Sealed { item: out.item, seq: out.seq };
        put(txn, id, &OutboxEntry { message: None, stage })?;
        // What was sealed is what waits now.
        match self.next_of(txn, id, &mut record, fresh)? {
            Next::Deposit { key, item, target, ways, .. } => {
                Ok(Next::Deposit { key, item, target, ways, sealed: true })
            }
            next => Ok(next),
        }
    }
}
