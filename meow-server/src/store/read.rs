//! Reading items and blobs. A mailbox that does not exist costs the same statements as one that does.

use meow_core::store::{Page, StoreStats, StoredItem};

use super::StoreError;
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

pub(super) fn items(sql: &Sql<'_>, lkp: &[u8; 32], limits: &Limits) -> Result<Page, StoreError> {
    let slot = Mailbox::find_open(sql, lkp)?.map_or(NO_SLOT, |mailbox| mailbox.slot);
    let mut page = Page::default();
    let mut room = limits.max_bytes;
    sql.each(
        "SELECT number, body FROM item WHERE slot = ?1 AND number > ?2 AND expires > ?3 ORDER BY number",
        (slot, capped(limits.after), capped(limits.now)),
        |row| {
            let body = row.get_ref(1)?.as_blob().map_err(|_| StoreError::BadRow("item"))?;
            let cost = body.len().saturating_add(limits.per_item);
            let Some(rest) = room.checked_sub(cost).filter(|_| page.items.len() < limits.max_items) else {
                (page.more, page.next_len) = (true, Some(body.len()));
                return Ok(false);
            };
            room = rest;
            page.items.push(StoredItem { number: unsigned(row, 0)?, item: body.to_vec() });
            Ok(true)
        },
    )?;
    Ok(page)
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
