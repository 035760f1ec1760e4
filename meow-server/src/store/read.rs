//! Reading items and blobs. A mailbox that does not exist costs the same statements as one that is empty.

use meow_core::store::{Page, StoredItem};

use super::StoreError;
use super::overlay::Overlay;
use super::sql::Sql;
use super::tally::{Mailbox, capped, unsigned};

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
    /// Takes room for an item, or notes that it did not fit; whether it does.
    fn fits(&mut self, len: usize) -> bool {
        let cost = len.saturating_add(self.limits.per_item);
        match self.room.checked_sub(cost) {
            Some(rest) if self.page.items.len() < self.limits.max_items => {
                self.room = rest;
                true
            }
            _ => {
                (self.page.more, self.page.next_len) = (true, Some(len));
                false
            }
        }
    }

    /// Takes an item in if it fits; whether others may follow.
    fn push(&mut self, number: u64, item: Vec<u8>) -> bool {
        let fits = self.fits(item.len());
        if fits {
            self.page.items.push(StoredItem { number, item });
        }
        fits
    }

    /// As [`push`](Self::push), for a body that is read only if it fits.
    fn push_with(
        &mut self,
        number: u64,
        len: usize,
        body: impl FnOnce() -> Result<Vec<u8>, StoreError>,
    ) -> Result<bool, StoreError> {
        let fits = self.fits(len);
        if fits {
            self.page.items.push(StoredItem { number, item: body()? });
        }
        Ok(fits)
    }
}

pub(super) fn items(
    sql: &Sql<'_>,
    overlay: &Overlay,
    lkp: &[u8; 32],
    limits: &Limits,
) -> Result<Page, StoreError> {
    let slot = Mailbox::find_open(sql, lkp)?.map_or(NO_SLOT, |mailbox| mailbox.slot);
    let live = overlay.get(slot);
    let after = live.map_or(limits.after, |live| limits.after.max(live.floor));
    let mut filling = Filling { page: Page::default(), limits, room: limits.max_bytes };
    sql.each(
        "SELECT place.number, item.body FROM place CROSS JOIN item ON item.seq = place.seq \
         WHERE place.slot = ?1 AND place.number > ?2 AND item.expires > ?3 ORDER BY place.number",
        (slot, capped(after), capped(limits.now)),
        |row| Ok(filling.push(unsigned(row, 0)?, row.get(1)?)),
    )?;
    // What was folded while the tables were read is in both: it is not taken twice.
    let folded = filling.page.items.last().map_or(after, |item| item.number);
    let pending = live.into_iter().flat_map(|live| &live.pending);
    for pending in pending.filter(|p| p.number > folded && p.expires > limits.now) {
        if filling.page.more
            || !filling.push_with(pending.number, pending.len as usize, || overlay.body(pending))?
        {
            break;
        }
    }
    Ok(filling.page)
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
