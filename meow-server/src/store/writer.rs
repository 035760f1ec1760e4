//! The one that writes: batches into the log, and the log into the tables.

use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};

use meow_core::store::{Quota, Write, WriteOutcome};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;
use super::connection::{Role, Source};
use super::expire;
use super::known::Known;
use super::log::{self, Log};
use super::overlay::{Overlay, Settled};
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

/// Where a batch goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    /// Its records into the log.
    Log,
    /// It has no records.
    Tables,
    /// Its records too, after all that is pending.
    TablesWhole,
}

/// The writing connection and the log. In memory all is as the last batch left it.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) log: Log,
    pub(super) known: Known,
    /// With what is pending.
    pub(super) totals: Totals,
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
        let into = match log::size_of(batch) {
            Some(size) => self.make_room(shared, batch, size, now)?,
            None if batch.iter().any(log::appends) => Into::TablesWhole,
            None => Into::Tables,
        };
        let outcomes = self.run(shared, into, now, |txn| Batch { txn, quota }.apply(batch))?;
        let known = self.known.step(&Sql::new(&self.connection, shared.operations));
        if let Err(error) = &known {
            // This batch is done all the same; the next that meets the bad page will say so.
            tracing::warn!(%error, "the ids of the mailbox store cannot all be read");
            shared.source.renew_after(&known, Role::Writer, &mut self.connection);
        }
        Ok(outcomes)
    }

    /// Sees to it that the log has room for a batch, by folding what is oldest in it.
    fn make_room(
        &mut self,
        shared: Shared<'_>,
        batch: &[Write],
        size: u64,
        now: u64,
    ) -> Result<Into, StoreError> {
        let frees = batch.iter().all(|write| matches!(write, Write::Acknowledge { .. }));
        let most = shared.source.options.fold_rows.max(1);
        let (weight, full) = {
            let overlay = read(shared.overlay);
            let last = overlay.segments().back().map_or(0, |last| last.records);
            (overlay.weight(), last >= most.div_ceil(log::SEGMENTS as usize))
        };
        let room = self.log.has_room(size, frees);
        if weight >= most || full || !room {
            match self.turn(shared, room && !full, now) {
                Ok(()) if self.log.has_room(size, frees) => {}
                // The log cannot be written.
                Ok(()) => return Ok(Into::TablesWhole),
                // On a full disk those who fetch their mail make room.
                Err(_) if frees && room && weight < most.saturating_mul(2) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Into::Log)
    }

    /// Folds the oldest segments, as many as have nothing that waits to be fetched, and as many as it takes; and begins another
    /// one, unless the one that is written can stay.
    fn turn(&mut self, shared: Shared<'_>, stays: bool, now: u64) -> Result<(), StoreError> {
        let most = shared.source.options.fold_rows.max(1);
        let (folded, place) = {
            let overlay = read(shared.overlay);
            let (segments, weights) = (overlay.segments(), overlay.weights());
            let all = segments.len();
            let light = weights.iter().position(|weight| *weight < most).unwrap_or(all);
            let mut folded = light.max(overlay.spent().min(all.saturating_sub(1)));
            let mut place = None;
            while !stays || folded == all {
                place = self.log.place(segments.iter().skip(folded));
                if place.is_some() || folded == all {
                    break;
                }
                folded += 1;
            }
            (folded, place)
        };
        let generation = self.totals.generation.saturating_add(1);
        let row = place.map(|place| self.log.draw(generation, place)).transpose()?;
        self.run(shared, Into::Tables, now, |txn| {
            txn.fold(folded)?;
            if let Some(row) = &row {
                txn.begin(row)?;
            }
            Ok(())
        })?;
        if let Some(row) = &row {
            write(shared.overlay).begin(self.log.begin(&shared.source.key, row));
        }
        Ok(())
    }

    /// Deletes some of what has expired.
    pub(super) fn expire(&mut self, shared: Shared<'_>, now: u64, limit: usize) -> Result<usize, StoreError> {
        let folded = read(shared.overlay).through(|live, one| one.number > live.floor && one.expires <= now);
        self.run(shared, Into::Tables, now, |txn| {
            txn.fold(folded)?;
            let rows = expire::sweep(txn, now, limit)?;
            txn.changed |= rows > 0;
            Ok(rows)
        })
    }

    /// Puts what is pending into the tables, and leaves the log empty until the next start.
    pub(super) fn rest(&mut self, shared: Shared<'_>) -> Result<(), StoreError> {
        let all = read(shared.overlay).segments().len();
        self.run(shared, Into::Tables, self.now, |txn| txn.fold(all))?;
        self.log.clear()
    }

    /// Runs a batch: in a transaction on the tables, or beside them, for what only goes into the log.
    fn run<'w, T>(
        &mut self,
        shared: Shared<'_>,
        into: Into,
        now: u64,
        work: impl FnOnce(&mut Txn<'_, 'w>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.now = now.max(self.now);
        // What only looks needs none: nobody else writes what it looks at. An early return drops it, which rolls it back.
        let transaction = match into {
            Into::Log => None,
            Into::Tables | Into::TablesWhole => {
                Some(Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?)
            }
        };
        let overlay = read(shared.overlay);
        let sql = Sql::new(&self.connection, shared.operations);
        let (options, whole) = (&shared.source.options, into == Into::TablesWhole);
        let mut txn = Txn::new(sql, options, self.now, self.totals, &mut self.known, &overlay, whole);
        let outcome = work(&mut txn)?;
        if into != Into::Log && (txn.changed || !txn.staged.records.is_empty()) {
            txn.settle()?;
        }
        let Txn { staged, totals, changed, .. } = txn;
        drop(overlay);
        let Some(transaction) = transaction.filter(|_| changed) else {
            if !staged.records.is_empty() {
                let places = self.log.append(&staged.records)?;
                let mut overlay = write(shared.overlay);
                overlay.absorb(staged.live, staged.mailboxes, &places)?;
                overlay.stats = totals.stats;
                self.totals = totals;
            }
            return Ok(outcome);
        };
        totals.store(&Sql::new(&transaction, shared.operations))?;
        transaction.commit()?;
        self.totals = totals;
        let mut overlay = write(shared.overlay);
        overlay.stats = totals.stats;
        overlay.settle(Settled::of(staged));
        if overlay.segments().is_empty() {
            self.log.end();
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
