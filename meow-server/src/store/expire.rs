//! Deleting what has had its time: items, blobs, remembered ids, invitations.
//!
//! Runs on tables that have every sum, and what has expired.

use std::collections::hash_map::{Entry, HashMap};

use super::sql::Sql;
use super::tally::{Tally, capped, less, unsigned};
use super::txn::Txn;
use super::{StoreError, StoreOptions, fold};

type Tallies = HashMap<i64, Tally>;

/// Deletes at most `limit` rows that have expired, and returns how many.
pub(super) fn sweep(txn: &mut Txn<'_, '_>, now: u64, limit: usize) -> Result<usize, StoreError> {
    let mut tallies = Tallies::new();
    let mut left = limit;
    left = left.saturating_sub(items(txn, &mut tallies, now, left)?);
    left = left.saturating_sub(blobs(txn, &mut tallies, now, left)?);
    for (slot, tally) in tallies {
        tally.store(&txn.sql, slot)?;
        txn.tell(slot, tally);
    }
    left = left.saturating_sub(forget(&txn.sql, Old::Until(capped(now)), left)?);
    left = left.saturating_sub(invites(&txn.sql, now, left)?);
    Ok(limit.saturating_sub(left))
}

/// The tally of a mailbox, from the tables at first.
fn tally<'t>(sql: &Sql<'_>, tallies: &'t mut Tallies, slot: i64) -> Result<&'t mut Tally, StoreError> {
    Ok(match tallies.entry(slot) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Tally::find(sql, slot)?.ok_or(StoreError::BadRow("tally"))?),
    })
}

fn items(txn: &mut Txn<'_, '_>, tallies: &mut Tallies, now: u64, limit: usize) -> Result<usize, StoreError> {
    let sql = &txn.sql;
    let mut found: Vec<i64> = Vec::new();
    let query = "SELECT seq FROM due WHERE expires <= ?1 ORDER BY expires, seq LIMIT ?2";
    sql.each(query, (capped(now), capped(limit as u64)), |row| {
        found.push(row.get(0)?);
        Ok(true)
    })?;
    let until = capped(now.saturating_add(txn.options.remember_secs));
    for &seq in &found {
        let query = "SELECT slot, number, length(body) FROM item WHERE seq = ?1";
        let row = sql.one(query, [seq], |row| Ok((row.get(0)?, row.get(1)?, unsigned(row, 2)?)))?;
        let (slot, number, len): (i64, i64, u64) = row.ok_or(StoreError::BadRow("due"))?;
        sql.run("DELETE FROM place WHERE slot = ?1 AND number = ?2", (slot, number))?;
        fold::remove_item(sql, seq, until)?;
        let tally = tally(sql, tallies, slot)?;
        (tally.items, tally.bytes) = (less(tally.items, 1)?, less(tally.bytes, len)?);
        txn.totals.remove(1, len)?;
    }
    if !found.is_empty() {
        forget_overflow(sql, txn.options, found.len() as u64)?;
    }
    Ok(found.len())
}

fn blobs(txn: &mut Txn<'_, '_>, tallies: &mut Tallies, now: u64, limit: usize) -> Result<usize, StoreError> {
    let sql = &txn.sql;
    let mut found: Vec<(i64, i64, u64)> = Vec::new();
    let query = "SELECT rowid, slot, length(content) FROM blob WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    sql.each(query, (capped(now), capped(limit as u64)), |row| {
        found.push((row.get(0)?, row.get(1)?, unsigned(row, 2)?));
        Ok(true)
    })?;
    for &(row, slot, len) in &found {
        sql.run("DELETE FROM blob WHERE rowid = ?1", [row])?;
        let tally = tally(sql, tallies, slot)?;
        (tally.blobs, tally.bytes) = (less(tally.blobs, 1)?, less(tally.bytes, len)?);
        txn.totals.remove(0, len)?;
    }
    Ok(found.len())
}

fn invites(sql: &Sql<'_>, now: u64, limit: usize) -> Result<usize, StoreError> {
    sql.run(
        "DELETE FROM invite WHERE hash IN (SELECT hash FROM invite WHERE expires <= ?1 OR uses = 0 LIMIT ?2)",
        (capped(now), capped(limit as u64)),
    )
}

/// Which remembered ids are old enough to go.
enum Old {
    /// Those whose time is not after this.
    Until(i64),
    /// Those added up to this number.
    Upto(i64),
}

/// Forgets ids in the order in which they were added.
fn forget(sql: &Sql<'_>, old: Old, limit: usize) -> Result<usize, StoreError> {
    let mut found: Vec<(i64, i64, [u8; 16])> = Vec::new();
    let (query, bound) = match old {
        Old::Until(time) => ("SELECT seq, slot, id FROM forget WHERE at <= ?1 ORDER BY seq LIMIT ?2", time),
        Old::Upto(seq) => ("SELECT seq, slot, id FROM forget WHERE seq <= ?1 ORDER BY seq LIMIT ?2", seq),
    };
    sql.each(query, (bound, capped(limit as u64)), |row| {
        found.push((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(true)
    })?;
    for (seq, slot, id) in &found {
        sql.run("DELETE FROM seen WHERE slot = ?1 AND id = ?2", (slot, id))?;
        sql.run("DELETE FROM forget WHERE seq = ?1", [seq])?;
    }
    Ok(found.len())
}

/// Keeps the number of remembered ids under its cap, after some were added.
pub(super) fn forget_overflow(sql: &Sql<'_>, options: &StoreOptions, added: u64) -> Result<(), StoreError> {
    let newest = sql.one("SELECT coalesce(max(seq), 0) FROM forget", [], |row| unsigned(row, 0))?;
    let newest = newest.ok_or(StoreError::BadRow("forget"))?;
    if newest > options.remember_max {
        let limit = usize::try_from(added.saturating_mul(2)).unwrap_or(usize::MAX);
        forget(sql, Old::Upto(capped(less(newest, options.remember_max)?)), limit)?;
    }
    Ok(())
}
