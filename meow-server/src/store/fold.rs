//! Folding: thousands of records of the log go into the tables, in the order of those tables, so that each of their pages is
//! written once. What was fetched before its segment is folded is never written there, but for its id.

use super::StoreError;
use super::expire;
use super::overlay::Pending;
use super::sql::Sql;
use super::tally::capped;
use super::txn::Txn;

/// Where a pending item's body lies.
#[derive(Clone, Copy)]
enum Body {
    Log,
    Batch,
}

/// Writes the sums of every mailbox that changed, and deletes what the tables list of what is acknowledged.
pub(super) fn sums(txn: &mut Txn<'_, '_>) -> Result<(), StoreError> {
    let mut slots = match txn.overlay() {
        Some(overlay) if !txn.staged.settled => overlay.slots(|live| live.changed),
        _ => Vec::new(),
    };
    slots.extend(txn.staged.live.iter().filter(|(_, live)| live.changed).map(|(slot, _)| *slot));
    slots.sort_unstable();
    slots.dedup();
    let until = capped(txn.now.saturating_add(txn.options.remember_secs));
    let mut gone = 0;
    for &slot in &slots {
        let Some(live) = txn.newest(slot) else { continue };
        let (tally, floor) = (live.tally, live.floor);
        gone += taken(&txn.sql, slot, floor, until)?;
        tally.store(&txn.sql, slot)?;
    }
    txn.staged.settled = true;
    txn.changed |= !slots.is_empty();
    if gone > 0 {
        expire::forget_overflow(&txn.sql, txn.options, gone)?;
    }
    Ok(())
}

/// Puts the items of so many of the oldest segments into the tables, and those of the batch, if it has any.
pub(super) fn items(txn: &mut Txn<'_, '_>, segments: usize) -> Result<(), StoreError> {
    let overlay = txn.overlay().filter(|_| segments > 0);
    let old =
        |one: &Pending| overlay.and_then(|overlay| overlay.nth(one.at)).is_some_and(|nth| nth < segments);
    let logged = overlay.map(|overlay| overlay.slots(|live| live.pending.front().is_some_and(old)));
    let mut slots = logged.unwrap_or_default();
    slots.extend(txn.staged.live.iter().filter(|(_, live)| !live.pending.is_empty()).map(|(slot, _)| *slot));
    slots.sort_unstable();
    slots.dedup();
    let until = capped(txn.now.saturating_add(txn.options.remember_secs));
    let (mut gone, mut due) = (0, Vec::new());
    for &slot in &slots {
        let Some(floor) = txn.newest(slot).map(|live| live.floor) else { continue };
        let mut all: Vec<(Pending, Body)> = Vec::new();
        let logged = overlay.and_then(|overlay| overlay.get(slot)).into_iter().flat_map(|live| &live.pending);
        all.extend(logged.take_while(|one| old(one)).map(|pending| (*pending, Body::Log)));
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
