//! Finding out which servers of a contact are dead, and forgetting what none keeps any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use meow_core::Result;
use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, Place};
use meow_core::store::{StoreTxn, Table};

use super::{FEW, Kept, PAGE, StoredAt, forget_one, prefix};
use crate::client::Inner;
use crate::cover::at_moments;
use crate::deposit::Sending;
use crate::hearing::silence;
use crate::outbox::damaged;
use crate::records::{contact, decode, key_number};
use crate::route::Ways;
use crate::run::of_the_store;

/// A place that was not heard of for so long is asked again, in milliseconds; later less often.
const ASK_AGAIN_MS: u64 = 15 * 60 * 1000;
/// A server that does not answer is asked so often, in milliseconds.
const ASK_SILENT_MS: u64 = 60 * 1000;
/// What a server that is silent for so long holds is stored elsewhere, in milliseconds.
const DEAD_MS: u64 = 10 * 60 * 1000;
/// How long items are kept that the contact does not acknowledge, in milliseconds: servers keep them no longer.
const KEEP_MS: u64 = 30 * 24 * 60 * 60 * 1000;

impl Inner {
    /// Asks the servers that hold something which its contact has not acknowledged whether they are still there, now and then,
    /// by depositing one item of it again. What one holds that is dead is stored elsewhere.
    pub(crate) async fn look_after_copies(self: &Arc<Self>) -> Result<()> {
        for id in self.read(with_kept).await? {
            let now = self.now_ms();
            if self.read(move |txn| any_expired(txn, &id, now)).await? {
                self.write(move |txn, _| forget_expired(txn, &id, now)).await?;
            }
            let Some(all) = self.read(move |txn| held(txn, &id)).await? else { continue };
            let AllHeld { target, ways, held, covered } = all;
            for (place, held) in target.places().iter().filter_map(|p| Some((p, held.get(p.lkp.as_bytes())?)))
            {
                let what = Sending { contact: id, ways: &ways, target: &target, item: &held.item };
                self.look_after(&what, place, held, covered).await?;
            }
        }
        Ok(())
    }

    /// Asks one place whether it is still there, where that is due, and gives up what it holds where it is dead. With cover
    /// traffic what leaves at its moments asks often enough.
    async fn look_after(
        self: &Arc<Self>,
        what: &Sending<'_>,
        place: &Place,
        held: &Held,
        covered: bool,
    ) -> Result<()> {
        let (id, lkp, server) = (what.contact, place.lkp, *place.server.fingerprint());
        let silence = async || self.read(move |txn| silence(txn, &server)).await;
        if !covered && held.is_due(self.now_ms(), silence().await?.is_some()) {
            match self.pass_to(what, place).await {
                Ok(()) => self.confirmed(id, held.seq, lkp).await?,
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => tracing::debug!(kind = e.kind().name(), "a server that holds mail does not answer"),
            }
        }
        if silence().await?.is_none() {
            return Ok(());
        }
        self.write(move |txn, inner| {
            if !inner.is_dead(txn, &server, DEAD_MS)? {
                return Ok(());
            }
            let record = contact(txn, &id)?;
            inner.assess_all(txn, &record, Some(&lkp))?;
            inner.outbox.notify_one();
            Ok(())
        })
        .await
    }
}

/// What a place of a contact holds.
struct Held {
    /// The smallest item there.
    seq: u64,
    item: Vec<u8>,
    /// When anything was confirmed there last, and when the newest item was stored first, in Unix milliseconds.
    heard_ms: u64,
    newest_ms: u64,
}

impl Held {
    fn is_due(&self, now: u64, silent: bool) -> bool {
        let age = now.saturating_sub(self.newest_ms);
        let every = if silent { ASK_SILENT_MS } else { ASK_AGAIN_MS.max(age / 4) };
        now.abs_diff(self.heard_ms) >= every
    }
}

/// What all places of a contact hold.
struct AllHeld {
    target: Lookup,
    ways: Ways,
    held: BTreeMap<[u8; 32], Held>,
    /// What is sent to the contact leaves at moments.
    covered: bool,
}

/// What each place of a contact holds; forgets nothing.
fn held(txn: &dyn StoreTxn, id: &ContactId) -> Result<Option<AllHeld>> {
    let record = contact(txn, id)?;
    let Some(target) = record.machine.deposit_target().cloned() else { return Ok(None) };
    let mut all = BTreeMap::<[u8; 32], Held>::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = txn.scan(Table::Items, &prefix(id), after.as_deref(), PAGE, false)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, value) in &rows {
            let Kept { item, since_ms, at, .. } = decode(Table::Items, value)?;
            let seq = key_number(key).ok_or_else(damaged)?;
            for StoredAt { lkp, ms } in at {
                let here = Held { seq, item: item.clone(), heard_ms: ms, newest_ms: since_ms };
                let held = all.entry(*lkp.as_bytes()).or_insert(here);
                held.heard_ms = held.heard_ms.max(ms);
                held.newest_ms = held.newest_ms.max(since_ms);
                if item.len() < held.item.len() {
                    (held.seq, held.item) = (seq, item.clone());
                }
            }
        }
    }
    let (ways, covered) = (Ways::of(&record), at_moments(&record));
    Ok(Some(AllHeld { target, ways, held: all, covered }))
}

/// The contacts for whom something is kept.
fn with_kept(txn: &dyn StoreTxn) -> Result<Vec<ContactId>> {
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while let Some((key, _)) = txn.scan(Table::Items, &[], after.as_deref(), 1, false)?.pop() {
        let id = ContactId::from_bytes(*key.first_chunk::<16>().ok_or_else(damaged)?);
        if !txn.scan(Table::Items, &prefix(&id), None, 1, false)?.is_empty() {
            found.push(id);
        }
        after = Some([id.as_bytes().as_slice(), &[0xff; 33]].concat());
    }
    Ok(found)
}

/// Whether anything is kept that no server keeps any more.
fn any_expired(txn: &dyn StoreTxn, id: &ContactId, now: u64) -> Result<bool> {
    for (_, value) in txn.scan(Table::Items, &prefix(id), None, FEW, false)? {
        let kept: Kept = decode(Table::Items, &value)?;
        if now.saturating_sub(kept.since_ms) > KEEP_MS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets what no server keeps any more.
fn forget_expired(txn: &mut dyn StoreTxn, id: &ContactId, now: u64) -> Result<()> {
    loop {
        let rows = txn.scan(Table::Items, &prefix(id), None, FEW, false)?;
        let mut old = 0;
        for (key, value) in &rows {
            let kept: Kept = decode(Table::Items, value)?;
            if now.saturating_sub(kept.since_ms) > KEEP_MS {
                forget_one(txn, id, key_number(key).ok_or_else(damaged)?)?;
                old += 1;
            }
        }
        if old < FEW {
            return Ok(());
        }
    }
}
