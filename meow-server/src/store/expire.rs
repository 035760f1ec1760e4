//! Deleting what has had its time: items, blobs, remembered ids, invitations.

use super::sql::Sql;
use super::tally::{Totals, capped, less, unsigned};
use super::{StoreError, StoreOptions};

/// Deletes at most `limit` rows that have expired, and returns how many.
pub(super) fn sweep(
    sql: &Sql<'_>,
    options: &StoreOptions,
    now: u64,
    limit: usize,
) -> Result<usize, StoreError> {
    let before = Totals::load(sql)?;
    let mut totals = before;
    let mut left = limit;
    left = left.saturating_sub(items(sql, options, &mut totals, now, left)?);
    left = left.saturating_sub(blobs(sql, &mut totals, now, left)?);
    left = left.saturating_sub(forget(sql, "at <= ?1", capped(now), left)?);
    left = left.saturating_sub(invites(sql, now, left)?);
    if totals != before {
        totals.store(sql)?;
    }
    Ok(limit.saturating_sub(left))
}

struct Expired {
    row: i64,
    slot: i64,
    bytes: u64,
}

fn expired(sql: &Sql<'_>, query: &str, now: u64, limit: usize) -> Result<Vec<Expired>, StoreError> {
    let mut found = Vec::new();
    sql.each(query, (capped(now), capped(limit as u64)), |row| {
        found.push(Expired { row: row.get(0)?, slot: row.get(1)?, bytes: unsigned(row, 2)? });
        Ok(true)
    })?;
    Ok(found)
}

fn items(
    sql: &Sql<'_>,
    options: &StoreOptions,
    totals: &mut Totals,
    now: u64,
    limit: usize,
) -> Result<usize, StoreError> {
    let query = "SELECT seq, slot, length(body) FROM item WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    let found = expired(sql, query, now, limit)?;
    let until = capped(now.saturating_add(options.remember_secs));
    for item in &found {
        sql.run(
            "INSERT INTO forget (at, slot, id) SELECT ?2, slot, id FROM item WHERE seq = ?1",
            (item.row, until),
        )?;
        sql.run("DELETE FROM item WHERE seq = ?1", [item.row])?;
        sql.run(
            "UPDATE mailbox SET items = items - 1, bytes = bytes - ?2 WHERE slot = ?1",
            (item.slot, capped(item.bytes)),
        )?;
        totals.remove(1, item.bytes)?;
    }
    if !found.is_empty() {
        forget_overflow(sql, options, found.len() as u64)?;
    }
    Ok(found.len())
}

fn blobs(sql: &Sql<'_>, totals: &mut Totals, now: u64, limit: usize) -> Result<usize, StoreError> {
    let query = "SELECT rowid, slot, length(content) FROM blob WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    let found = expired(sql, query, now, limit)?;
    for blob in &found {
        sql.run("DELETE FROM blob WHERE rowid = ?1", [blob.row])?;
        sql.run(
            "UPDATE mailbox SET blobs = blobs - 1, bytes = bytes - ?2 WHERE slot = ?1",
            (blob.slot, capped(blob.bytes)),
        )?;
        totals.remove(0, blob.bytes)?;
    }
    Ok(found.len())
}

fn invites(sql: &Sql<'_>, now: u64, limit: usize) -> Result<usize, StoreError> {
    sql.run(
        "DELETE FROM invite WHERE hash IN (SELECT hash FROM invite WHERE expires <= ?1 OR uses = 0 LIMIT ?2)",
        (capped(now), capped(limit as u64)),
    )
}

/// Forgets ids in the order in which they were added.
fn forget(sql: &Sql<'_>, which: &str, bound: i64, limit: usize) -> Result<usize, StoreError> {
    let mut found = Vec::new();
    let query = format!("SELECT seq, slot, id FROM forget WHERE {which} ORDER BY seq LIMIT ?2");
    sql.each(&query, (bound, capped(limit as u64)), |row| {
        found.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, [u8; 16]>(2)?));
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
        forget(sql, "seq <= ?1", capped(less(newest, options.remember_max)?), limit)?;
    }
    Ok(())
}
