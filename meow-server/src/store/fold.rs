//! Folding: thousands of appended rows go into the tables that find them, in the order of those tables, so
//! that each of their pages is written once.

use super::overlay::{Live, Overlay};
use super::sql::Sql;
use super::tally::{Totals, capped};
use super::{StoreError, StoreOptions, expire};

/// Folds everything that the overlay holds. The caller empties the overlay when the transaction is committed.
pub(super) fn fold(
    sql: &Sql<'_>,
    options: &StoreOptions,
    overlay: &Overlay,
    totals: &mut Totals,
    now: u64,
) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    let mut due = Vec::new();
    for (slot, live) in overlay.in_order() {
        mailbox(sql, slot, live, &mut gone, &mut due)?;
    }
    due.sort_unstable();
    for (expires, seq) in due {
        sql.run("INSERT INTO due (expires, seq) VALUES (?1, ?2)", (expires, seq))?;
    }
    gone.sort_unstable();
    for &seq in &gone {
        remove_item(sql, seq, capped(now.saturating_add(options.remember_secs)))?;
    }
    if !gone.is_empty() {
        expire::forget_overflow(sql, options, gone.len() as u64)?;
    }
    sql.run("DELETE FROM change", [])?;
    totals.folded = totals.next_seq.saturating_sub(1);
    Ok(())
}

fn mailbox(
    sql: &Sql<'_>,
    slot: i64,
    live: &Live,
    gone: &mut Vec<i64>,
    due: &mut Vec<(i64, i64)>,
) -> Result<(), StoreError> {
    if live.floor > 0 {
        let upto = (slot, capped(live.floor));
        sql.each("SELECT seq FROM place WHERE slot = ?1 AND number <= ?2", upto, |row| {
            gone.push(row.get(0)?);
            Ok(true)
        })?;
        sql.run("DELETE FROM place WHERE slot = ?1 AND number <= ?2", upto)?;
    }
    for pending in &live.pending {
        // Also for what is acknowledged already: its id is remembered for a while.
        sql.run("INSERT INTO seen (slot, id) VALUES (?1, ?2)", (slot, pending.id))?;
        if pending.number <= live.floor {
            gone.push(pending.seq);
            continue;
        }
        sql.run(
            "INSERT INTO place (slot, number, seq, len) VALUES (?1, ?2, ?3, ?4)",
            (slot, capped(pending.number), pending.seq, capped(pending.len)),
        )?;
        due.push((capped(pending.expires), pending.seq));
    }
    live.tally.store(sql, slot)
}

/// Deletes an item that `place` lists no more; its id is remembered until then.
pub(super) fn remove_item(sql: &Sql<'_>, seq: i64, until: i64) -> Result<(), StoreError> {
    let row = sql.one("DELETE FROM item WHERE seq = ?1 RETURNING slot, id, expires", [seq], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
    })?;
    let (slot, id, expires) = row.ok_or(StoreError::BadRow("place"))?;
    sql.run("DELETE FROM due WHERE expires = ?1 AND seq = ?2", (expires, seq))?;
    sql.run("INSERT INTO forget (at, slot, id) VALUES (?1, ?2, ?3)", (until, slot, id))?;
    Ok(())
}
