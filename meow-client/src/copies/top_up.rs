//! Storing the copies that are lacking.

use std::collections::BTreeSet;
use std::sync::Arc;

use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, Place};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use super::{Kept, LACKING, StoredAt, kept_key, lacking_key, wanted};
use crate::client::Inner;
use crate::cover::{at_moments, for_a_moment};
use crate::deposit::Sending;
use crate::event::EventKind;
use crate::flush::{STALL_QUEUED_MS, sooner};
use crate::outbox::damaged;
use crate::records::{ContactRecord, LogEntry, contact, key_number, load, ordered_key, save};
use crate::route::Ways;
use crate::run::of_the_store;

/// Items in a row that no server takes before a pass ends.
const MAX_IDLE: usize = 32;

/// An item that lacks copies, and what is to be done for it.
struct Lacking {
    seq: u64,
    kept: Kept,
    target: Lookup,
    ways: Ways,
    copies: u8,
}

impl Inner {
    /// Whether a copy is lacking that a server would probably take now.
    pub(crate) fn could_copy(&self, txn: &dyn StoreTxn, record: &ContactRecord) -> Result<bool> {
        let id = record.machine.id();
        let mut after = None;
        for _ in 0..MAX_IDLE {
            let Some(lacking) = next_lacking(txn, id, after)? else { return Ok(false) };
            if self.open_place(&lacking).is_some() {
                return Ok(true);
            }
            after = Some(lacking.seq);
        }
        Ok(false)
    }

    /// A place that lacks an item, and has not failed a moment ago.
    fn open_place<'a>(&self, lacking: &'a Lacking) -> Option<&'a Place> {
        let now = self.now_ms();
        let open = |place: &&Place| {
            !lacking.kept.is_at(&place.lkp) && !self.hearing.rests(place.server.fingerprint(), now)
        };
        lacking.target.places().iter().find(open)
    }

    /// Stores one copy that is lacking, at a moment of cover traffic. Returns how many were stored.
    pub(crate) async fn copy_at_moment(self: &Arc<Self>, id: ContactId) -> Result<usize> {
        let mut after = None;
        while let Some(lacking) = self.read(move |txn| next_lacking(txn, &id, after)).await? {
            after = Some(lacking.seq);
            let Some(place) = self.open_place(&lacking) else { continue };
            let Lacking { seq, kept, target, ways, copies } = &lacking;
            let what = Sending { contact: id, ways, target, item: &kept.item };
            return match self.pass_to(&what, place).await {
                Ok(()) => self.confirmed(id, *seq, place.lkp).await.map(|()| 1),
                Err(e) if of_the_store(&e) => Err(e),
                Err(e) => self.note_lacking(id, *seq, &e, wanted(target, *copies)).await.and(Err(e)),
            };
        }
        Ok(0)
    }

    /// Stores the copies that are lacking, where they can be. Returns how many were, and why others were not. With cover
    /// traffic they leave at its moments instead.
    pub(crate) async fn top_up(self: &Arc<Self>, id: ContactId) -> Result<(usize, Option<Error>)> {
        let (mut sent, mut left, mut idle, mut after) = (0, None, 0, None);
        let waits = move |txn: &dyn StoreTxn| match contact(txn, &id) {
            Ok(record) if at_moments(&record) && next_lacking(txn, &id, None)?.is_some() => {
                Ok(Some(for_a_moment(&record)))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        if let Some(waits) = self.read(waits).await? {
            return Ok((0, Some(waits)));
        }
        let mut failed = BTreeSet::new();
        while let Some(lacking) = self.read(move |txn| next_lacking(txn, &id, after)).await? {
            let Lacking { seq, mut kept, target, ways, copies } = lacking;
            after = Some(seq);
            let want = wanted(&target, copies);
            let (mut why, before) = (None, sent);
            for place in self.in_order(&target) {
                if kept.at.len() >= want {
                    break;
                }
                if kept.is_at(&place.lkp) || failed.contains(place.lkp.as_bytes()) {
                    continue;
                }
                let what = Sending { contact: id, ways: &ways, target: &target, item: &kept.item };
                match self.pass_to(&what, place).await {
                    Ok(()) => {
                        let (lkp, ms) = (place.lkp, self.now_ms());
                        kept.at.push(StoredAt { lkp, ms });
                        self.confirmed(id, seq, lkp).await?;
                        sent += 1;
                    }
                    Err(e) if of_the_store(&e) => return Err(e),
                    Err(e) => {
                        failed.insert(*place.lkp.as_bytes());
                        why = sooner(why, Some(e));
                    }
                }
            }
            if let Some(e) = why.filter(|_| kept.at.len() < want) {
                self.note_lacking(id, seq, &e, want).await?;
                left = sooner(left, Some(e));
            }
            idle = if sent == before { idle + 1 } else { 0 };
            if idle > MAX_IDLE {
                break;
            }
        }
        Ok((sent, left))
    }

    /// Notes why copies of a message are lacking, and raises the alarm once they do for long.
    async fn note_lacking(self: &Arc<Self>, id: ContactId, seq: u64, why: &Error, want: usize) -> Result<()> {
        let why = why.to_string();
        self.write(move |txn, inner| {
            let Some(kept) = load::<Kept>(txn, Table::Items, &kept_key(&id, seq))? else { return Ok(()) };
            let Some(message) = kept.message else { return Ok(()) };
            let key = ordered_key(&id, message.0);
            let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
            let text = format!("stored at {} of {want} servers; {why}", kept.at.len());
            let late = !log.alarmed && inner.now_ms().saturating_sub(kept.since_ms) > STALL_QUEUED_MS;
            if log.waiting == text && !late {
                return Ok(());
            }
            log.waiting.clone_from(&text);
            log.alarmed |= late;
            save(txn, Table::Log, &key, &log)?;
            if late {
                let name = contact(txn, &id)?.name;
                inner.emit(txn, &name, EventKind::Stalled { id: message, reason: text })?;
            }
            Ok(())
        })
        .await
    }
}

fn next_lacking(txn: &dyn StoreTxn, id: &ContactId, after: Option<u64>) -> Result<Option<Lacking>> {
    let marks = [LACKING, id.as_bytes()].concat();
    let after = after.map(|seq| lacking_key(id, seq));
    let Some((key, _)) = txn.scan(Table::Meta, &marks, after.as_deref(), 1, false)?.pop() else {
        return Ok(None);
    };
    let seq = key_number(&key).ok_or_else(damaged)?;
    let kept: Kept = load(txn, Table::Items, &kept_key(id, seq))?.ok_or_else(damaged)?;
    let record = contact(txn, id)?;
    let Some(target) = record.machine.deposit_target().cloned() else { return Ok(None) };
    let (ways, copies) = (Ways::of(&record), record.policy.copies);
    Ok(Some(Lacking { seq, kept, target, ways, copies }))
}
