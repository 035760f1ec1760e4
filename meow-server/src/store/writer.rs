//! The one that writes: batches into the log, and the log into the tables.

use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};

use meow_core::store::{Quota, StoreStats, Write, WriteOutcome};
use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;
use super::connection::{Role, Source};
use super::known::Known;
use super::log::{self, Log};
use super::overlay::Overlay;
use super::sql::Sql;
use super::tally::Totals;
use super::txn::Txn;
use super::write::Batch;

/// What writing needs of the store.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) source: &'a Source,
    pub(super) overlay: &'a RwLock<Overlay>,
    pub(super) operations: &'a AtomicU64,
}

/// The writing connection and the log. In memory all is as the last batch left it.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) log: Log,
    pub(super) known: Known,
    /// With what is pending.
    pub(super) totals: Totals,
    /// As in the tables.
    pub(super) folded: StoreStats,
    /// The newest time of day that a caller told.
    pub(super) now: u64,
}

impl Writer {
    /// Applies a batch; durable when this returns. When it fails, store and memory are as before.
    pub(super) fn commit(
        &mut self,
        shared: Shared<'_>,
        batch: &[Write],
        quota: &Quota,
        now: u64,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let frees = batch.iter().all(|write| matches!(write, Write::Acknowledge { .. }));
        let (most, weight) = (shared.source.options.fold_rows.max(1), read(shared.overlay).weight());
        let mut at_once = true;
        if let Some(size) = log::size_of(batch) {
            let room = self.log.has_room(size, frees);
            at_once = false;
            if weight >= most || !room {
                match self.fold(shared, now) {
                    Ok(()) => at_once = !self.log.has_room(size, frees),
                    // On a full disk those who fetch their mail make room.
                    Err(_) if frees && room && weight < most.saturating_mul(2) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        let outcomes = self.run(shared, at_once, now, |txn| Batch { txn, quota }.apply(batch))?;
        let known = self.known.step(&Sql::new(&self.connection, shared.operations));
        if let Err(error) = &known {
            // This batch is done all the same; the next that meets the bad page will say so.
            tracing::warn!(%error, "the ids of the mailbox store cannot all be read");
            shared.source.renew_after(&known, Role::Writer, &mut self.connection);
        }
        Ok(outcomes)
    }

    /// Puts what is pending into the tables, and begins the log anew.
    pub(super) fn fold(&mut self, shared: Shared<'_>, now: u64) -> Result<(), StoreError> {
        self.run(shared, true, now, |txn| {
            txn.settle()?;
            txn.staged.folded = true;
            Ok(())
        })
    }

    /// Puts what is pending into the tables, and leaves the log empty until the next start.
    pub(super) fn rest(&mut self, shared: Shared<'_>) -> Result<(), StoreError> {
        if self.totals.salt.is_none() {
            return Ok(());
        }
        self.run(shared, true, self.now, |txn| {
            txn.settle()?;
            (txn.staged.folded, txn.rests) = (true, true);
            Ok(())
        })
    }

    /// Runs a batch: in a transaction on the tables, or beside them, for what only goes into the log.
    pub(super) fn run<'w, T>(
        &mut self,
        shared: Shared<'_>,
        at_once: bool,
        now: u64,
        work: impl FnOnce(&mut Txn<'_, 'w>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.now = now.max(self.now);
        let behavior = if at_once { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
        // An early return drops the transaction, which rolls it back.
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let overlay = read(shared.overlay);
        let sql = Sql::new(&transaction, shared.operations);
        let mut txn = Txn::new(sql, &shared.source.options, self.now, self.totals, &mut self.known, &overlay);
        let outcome = work(&mut txn)?;
        if at_once && !txn.staged.records.is_empty() {
            txn.settle()?;
        }
        let Txn { staged, mut totals, changed, rests, .. } = txn;
        if !staged.folded && !changed {
            drop(overlay);
            // Only read.
            drop(transaction);
            if !staged.records.is_empty() {
                let places = self.log.append(&staged.records)?;
                let mut overlay = write(shared.overlay);
                overlay.absorb(staged.live, staged.mailboxes, &places)?;
                overlay.stats = totals.stats;
                self.totals = totals;
            }
            return Ok(outcome);
        }
        if staged.folded {
            totals.generation = totals.generation.wrapping_add(1);
            totals.salt = if rests { None } else { Some(self.log.prepare()?) };
        }
        let mut stored = totals;
        if !staged.folded && overlay.weight() > 0 {
            // What is pending is added when the log is read.
            (stored.stats.items, stored.stats.bytes) = (self.folded.items, self.folded.bytes);
        }
        drop(overlay);
        stored.store(&Sql::new(&transaction, shared.operations))?;
        transaction.commit()?;
        (self.totals, self.folded) = (totals, stored.stats);
        let mut overlay = write(shared.overlay);
        overlay.stats = totals.stats;
        if staged.folded {
            overlay.clear(self.log.begin(&shared.source.key, &totals));
        }
        if rests {
            self.log.clear()?;
        }
        Ok(outcome)
    }
}

pub(super) fn read(overlay: &RwLock<Overlay>) -> std::sync::RwLockReadGuard<'_, Overlay> {
    overlay.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(overlay: &RwLock<Overlay>) -> std::sync::RwLockWriteGuard<'_, Overlay> {
    overlay.write().unwrap_or_else(PoisonError::into_inner)
}
