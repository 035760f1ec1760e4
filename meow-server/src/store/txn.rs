//! One transaction of the writer, and what becomes of the overlay with it.

use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};

use rusqlite::{Connection, TransactionBehavior};

use super::overlay::{Change, Overlay, Pending, Staged};
use super::sql::Sql;
use super::tally::Totals;
use super::{StoreError, StoreOptions, fold};

/// A transaction under way.
pub(super) struct Txn<'a> {
    pub(super) sql: Sql<'a>,
    pub(super) totals: Totals,
    /// As it was before; empty as soon as `staged.folded`.
    pub(super) overlay: &'a Overlay,
    pub(super) staged: Staged,
}

impl Txn<'_> {
    /// Folds the overlay if it holds so many rows.
    pub(super) fn fold_from(
        &mut self,
        rows: usize,
        options: &StoreOptions,
        now: u64,
    ) -> Result<(), StoreError> {
        if !self.staged.folded && self.overlay.weight() >= rows.max(1) {
            fold::fold(&self.sql, options, self.overlay, &mut self.totals, now)?;
            self.staged.folded = true;
        }
        Ok(())
    }

    /// Every pending item of a mailbox, in order of number.
    pub(super) fn pending(&self, slot: i64) -> impl Iterator<Item = &Pending> {
        let before = if self.staged.folded { None } else { self.overlay.get(slot) };
        let added = match self.staged.live.get(&slot) {
            Some(Change::Open(live)) => Some(live),
            _ => None,
        };
        before.into_iter().chain(added).flat_map(|live| &live.pending)
    }
}

/// Runs one transaction; durable when this returns. When it fails, file and overlay are as before.
pub(super) fn run<T>(
    connection: &mut Connection,
    operations: &AtomicU64,
    overlay: &RwLock<Overlay>,
    generation: &mut i64,
    work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // An early return drops the transaction, which rolls it back.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = Sql::new(&transaction, operations);
    let before = Totals::load(&sql)?;
    if before.generation != *generation {
        // First use, or another process wrote (an operator's command): what we hold is old.
        let fresh = Overlay::load(&sql, &before)?;
        *overlay.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        *generation = before.generation;
    }
    let (outcome, mut totals, staged) = {
        let shared = overlay.read().unwrap_or_else(PoisonError::into_inner);
        let sql = Sql::new(&transaction, operations);
        let mut txn = Txn { sql, totals: before, overlay: &shared, staged: Staged::default() };
        (work(&mut txn)?, txn.totals, txn.staged)
    };
    if totals != before || staged.folded || staged.weight > 0 {
        totals.generation = before.generation.wrapping_add(1);
        totals.store(&sql)?;
    }
    transaction.commit()?;
    *generation = totals.generation;
    overlay.write().unwrap_or_else(PoisonError::into_inner).absorb(staged);
    Ok(outcome)
}
