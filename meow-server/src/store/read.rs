//! Reading items and blobs. A mailbox that does not exist costs the same statements as one that is empty.

use std::sync::{PoisonError, RwLock};

use meow_core::store::{Page, StoreStats, StoredItem};

use super::StoreError;
use super::overlay::Overlay;
use super::sql::Sql;
use super::tally::{Mailbox, Totals, capped, unsigned};

/// No mailbox has this slot; asking for it finds nothing by the same work.
const NO_SLOT: i64 = -1;

/// Which items, and how many.
pub(super) struct Limits {
    pub(super) after: u64,
    pub(super) max_items: usize,
    pub(super) max_bytes: usize,
    pub(super) per_item: usize,
    pub(super) now: u64,
}

/// A page under way.
struct Filling<'a> {
    page: Page,
    limits: &'a Limits,
    room: usize,
}

impl Filling<'_> {
    /// Takes an item in, or notes that it did not fit; whether others may follow.
    fn push(&mut self, number: u64, item: Vec<u8>) -> bool {
        let cost = item.len().saturating_add(self.limits.per_item);
        match self.room.checked_sub(cost) {
            Some(rest) if self.page.items.len() < self.limits.max_items => {
                self.room = rest;
                self.page.items.push(StoredItem { number, item });
                true
            }
            _ => {
                (self.page.more, self.page.next_len) = (true, Some(item.len()));
                false
            }
        }
    }
}

pub(super) fn items(
    sql: &Sql<'_>,
    overlay: &RwLock<Overlay>,
    lkp: &[u8; 32],
    limits: &Limits,
) -> Result<Page, StoreError> {
    let slot = Mailbox::find_open(sql, lkp)?.map_or(NO_SLOT, |mailbox| mailbox.slot);
    // First the overlay, then the file: what is folded in between is seen twice rather than not at all.
    let (after, pending) = pending(overlay, slot, limits);
    let mut filling = Filling { page: Page::default(), limits, room: limits.max_bytes };
    sql.each(
        "SELECT place.number, item.body FROM place CROSS JOIN item ON item.seq = place.seq \
         WHERE place.slot = ?1 AND place.number > ?2 AND item.expires > ?3 ORDER BY place.number",
        (slot, capped(after), capped(limits.now)),
        |row| Ok(filling.push(unsigned(row, 0)?, row.get(1)?)),
    )?;
    let folded = filling.page.items.last().map_or(0, |item| item.number);
    for (number, seq) in pending.into_iter().filter(|(number, _)| *number > folded) {
        if filling.page.more {
            break;
        }
        let body = sql.one("SELECT body FROM item WHERE seq = ?1", [seq], |row| row.get(0))?;
        // It can have been acknowledged and folded away since the overlay was read.
        if let Some(body) = body {
            filling.push(number, body);
        }
    }
    Ok(filling.page)
}

/// From where on to read the file, and the places of what is only pending.
fn pending(overlay: &RwLock<Overlay>, slot: i64, limits: &Limits) -> (u64, Vec<(u64, i64)>) {
    let overlay = overlay.read().unwrap_or_else(PoisonError::into_inner);
    let Some(live) = overlay.get(slot) else { return (limits.after, Vec::new()) };
    let after = limits.after.max(live.floor);
    let there = live.pending.iter().filter(|p| p.number > after && p.expires > limits.now);
    let places = there.take(limits.max_items.saturating_add(1)).map(|p| (p.number, p.seq)).collect();
    (after, places)
}

pub(super) fn blob(
    sql: &Sql<'_>,
    lkp: &[u8; 32],
    token_hash: &[u8; 32],
    name: &[u8; 16],
    now: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mailbox = Mailbox::find_open(sql, lkp)?.filter(|mailbox| mailbox.token == Some(*token_hash));
    sql.one(
        "SELECT content FROM blob WHERE slot = ?1 AND name = ?2 AND expires > ?3",
        (mailbox.map_or(NO_SLOT, |mailbox| mailbox.slot), name, capped(now)),
        |row| row.get(0),
    )
}

pub(super) fn stats(sql: &Sql<'_>) -> Result<StoreStats, StoreError> {
    Ok(Totals::load(sql)?.stats)
}
