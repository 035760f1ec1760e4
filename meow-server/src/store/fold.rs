//! Folding: thousands of records of the log go into the tables, in the order of those tables, so that each of their pages is
//! written once. What came and went since the last fold is never written there.

use super::StoreError;
use super::expire;
use super::overlay::{Live, Pending};
use super::sql::Sql;
use super::tally::capped;
use super::txn::Txn;

/// Where a pending item's body lies.
#[derive(Clone, Copy)]
enum Body {
    Log,
    Batch,
}

/// Folds everything that the overlay and the batch hold. The caller empties both.
pub(super) fn fold(txn: &mut Txn<'_, '_>) -> Result<(), StoreError> {
    let mut slots: Vec<i64> = txn.overlay().map(|overlay| overlay.slots().collect()).unwrap_or_default();
    slots.extend(txn.staged.live.iter().filter(|(_, live)| live.touched).map(|(slot, _)| *slot));
    slots.sort_unstable();
    slots.dedup();
    let until = capped(txn.now.saturating_add(txn.options.remember_secs));
    // First what frees room.
    let mut gone = 0;
    for &slot in &slots {
        let Some(live) = txn.newest(slot) else { continue };
        gone += taken(&txn.sql, slot, live.floor, until)?;
    }
    let mut due = Vec::new();
    for &slot in &slots {
        let Some(live) = txn.newest(slot) else { continue };
        let (tally, floor) = (live.tally, live.floor);
        let mut all: Vec<(Pending, Body)> = Vec::new();
        let logged = txn.overlay().and_then(|overlay| overlay.get(slot));
        all.extend(logged.iter().flat_map(|live| &live.pending).map(|pending| (*pending, Body::Log)));
        let staged = txn.staged.live.get(&slot);
        all.extend(staged.iter().flat_map(|live| &live.pending).map(|pending| (*pending, Body::Batch)));
        for (pending, body) in all {
            // Also for what is acknowledged already: its id is remembered for a while.
            txn.sql.run("INSERT INTO seen (slot, id) VALUES (?1, ?2)", (slot, pending.id))?;
            txn.known.add(slot, &pending.id);
            if pending.number <= floor {
                remember(&txn.sql, slot, &pending.id, until)?;
                gone += 1;
            } else {
                due.push((capped(pending.expires), item(txn, slot, &pending, body)?));
            }
        }
        tally.store(&txn.sql, slot)?;
    }
    due.sort_unstable();
    for (expires, seq) in due {
        txn.sql.run("INSERT INTO due (expires, seq) VALUES (?1, ?2)", (expires, seq))?;
    }
    if gone > 0 {
        expire::forget_overflow(&txn.sql, txn.options, gone)?;
    }
    Ok(())
}

/// Writes an item that stays; gives its row.
fn item(txn: &mut Txn<'_, '_>, slot: i64, pending: &Pending, body: Body) -> Result<i64, StoreError> {
    let seq = txn.totals.take_seq();
    let insert = |body: &[u8]| {
        txn.sql.run(
            "INSERT INTO item (seq, slot, number, id, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (seq, slot, capped(pending.number), pending.id, capped(pending.expires), body),
        )
    };
    match body {
        Body::Batch => insert(txn.staged.body(pending)?)?,
        Body::Log => insert(&txn.overlay().ok_or(StoreError::DamagedLog)?.body(pending)?)?,
    };
    txn.sql.run(
        "INSERT INTO place (slot, number, seq, len) VALUES (?1, ?2, ?3, ?4)",
        (slot, capped(pending.number), seq, pending.len),
    )?;
    Ok(seq)
}

/// Deletes what was acknowledged of what an earlier fold wrote; gives how many items that were.
fn taken(sql: &Sql<'_>, slot: i64, floor: u64, until: i64) -> Result<u64, StoreError> {
    if floor == 0 {
        return Ok(0);
    }
    let upto = (slot, capped(floor));
    let mut gone = Vec::new();
    sql.each("SELECT seq FROM place WHERE slot = ?1 AND number <= ?2", upto, |row| {
        gone.push(row.get(0)?);
        Ok(true)
    })?;
    sql.run("DELETE FROM place WHERE slot = ?1 AND number <= ?2", upto)?;
    for &seq in &gone {
        remove_item(sql, seq, until)?;
    }
    Ok(gone.len() as u64)
}

/// Deletes an item that `place` lists no more; its id is remembered until then.
pub(super) fn remove_item(sql: &Sql<'_>, seq: i64, until: i64) -> Result<(), StoreError> {
    let row = sql.one("DELETE FROM item WHERE seq = ?1 RETURNING slot, id, expires", [seq], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
    })?;
    let (slot, id, expires) = row.ok_or(StoreError::BadRow("place"))?;
    sql.run("DELETE FROM due WHERE expires = ?1 AND seq = ?2", (expires, seq))?;
    remember(sql, slot, &id, until)
}

fn remember(sql: &Sql<'_>, slot: i64, id: &[u8; 16], until: i64) -> Result<(), StoreError> {
    sql.run("INSERT INTO forget (at, slot, id) VALUES (?1, ?2, ?3)", (until, slot, id))?;
    Ok(())
}

/// What the newest change says of a mailbox.
pub(super) fn newest<'t>(staged: Option<&'t Live>, logged: Option<&'t Live>) -> Option<&'t Live> {
    staged.filter(|live| live.touched).or(logged)
}
