//! What is durable in `item` and `change` but not yet folded into the tables that find it.
//!
//! The overlay holds a few thousand entries at most. It changes only after the transaction that it reflects
//! is committed, and it can be built again from the file.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use super::StoreError;
use super::sql::Sql;
use super::tally::{Tally, Totals, capped, moved, unsigned};

/// An item that no index knows yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) seq: i64,
    pub(super) len: u64,
    pub(super) expires: u64,
    pub(super) id: [u8; 16],
}

/// A mailbox with changes that are not folded.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) tally: Tally,
    /// Everything up to this number is acknowledged, also what `place` still lists.
    pub(super) floor: u64,
    /// In order of number; all of them above what `place` lists.
    pub(super) pending: Vec<Pending>,
    /// A transaction under way changed it, and did not only look.
    pub(super) touched: bool,
}

impl Live {
    pub(super) fn new(tally: Tally, floor: u64) -> Self {
        Self { tally, floor, pending: Vec::new(), touched: false }
    }
}

#[derive(Debug, Default)]
pub(super) struct Overlay {
    live: HashMap<i64, Live>,
    seen: HashSet<(i64, [u8; 16])>,
    weight: usize,
}

impl Overlay {
    /// Reads what is not folded; nothing after a clean stop.
    pub(super) fn load(sql: &Sql<'_>, totals: &Totals) -> Result<Self, StoreError> {
        let mut overlay = Self::default();
        if totals.folded.saturating_add(1) == totals.next_seq {
            return Ok(overlay);
        }
        let query =
            "SELECT seq, slot, number, id, expires, length(body) FROM item WHERE seq > ?1 ORDER BY seq";
        sql.each(query, [totals.folded], |row| {
            let pending = Pending {
                number: unsigned(row, 2)?,
                seq: row.get(0)?,
                len: unsigned(row, 5)?,
                expires: unsigned(row, 4)?,
                id: row.get(3)?,
            };
            overlay.weight += 1;
            let slot = row.get(1)?;
            if let Some(live) = overlay.entry(sql, slot)? {
                live.tally.last = live.tally.last.max(pending.number);
                live.tally.items = moved(live.tally.items, 1)?;
                live.tally.bytes = moved(live.tally.bytes, capped(pending.len))?;
                live.pending.push(pending);
                overlay.seen.insert((slot, pending.id));
            }
            Ok(true)
        })?;
        sql.each("SELECT slot, counter, floor, items, blobs, bytes FROM change ORDER BY seq", [], |row| {
            overlay.weight += 1;
            let counter: i64 = row.get(1)?;
            let floor = unsigned(row, 2)?;
            if let Some(live) = overlay.entry(sql, row.get(0)?)? {
                live.tally.counter = live.tally.counter.max(counter.cast_unsigned());
                live.tally.items = moved(live.tally.items, row.get(3)?)?;
                live.tally.blobs = moved(live.tally.blobs, row.get(4)?)?;
                live.tally.bytes = moved(live.tally.bytes, row.get(5)?)?;
                live.floor = live.floor.max(floor);
            }
            Ok(true)
        })?;
        Ok(overlay)
    }

    /// The mailbox of this slot, from its folded tally at first; none when it was closed since.
    fn entry(&mut self, sql: &Sql<'_>, slot: i64) -> Result<Option<&mut Live>, StoreError> {
        match self.live.entry(slot) {
            Entry::Occupied(entry) => Ok(Some(entry.into_mut())),
            Entry::Vacant(entry) => {
                Ok(Tally::find(sql, slot)?.map(|tally| entry.insert(Live::new(tally, 0))))
            }
        }
    }

    pub(super) fn get(&self, slot: i64) -> Option<&Live> {
        self.live.get(&slot)
    }

    pub(super) fn has_seen(&self, slot: i64, id: &[u8; 16]) -> bool {
        self.seen.contains(&(slot, *id))
    }

    /// How many rows wait to be folded.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The mailboxes, in order of slot.
    pub(super) fn in_order(&self) -> Vec<(i64, &Live)> {
        let mut all: Vec<_> = self.live.iter().map(|(slot, live)| (*slot, live)).collect();
        all.sort_unstable_by_key(|(slot, _)| *slot);
        all
    }

    /// Takes in what a committed transaction did.
    pub(super) fn absorb(&mut self, staged: Staged) {
        if staged.folded {
            *self = Self::default();
        }
        self.weight += staged.weight;
        for (slot, change) in staged.live {
            match change {
                Change::Closed => {
                    self.live.remove(&slot);
                }
                Change::Open(new) if !new.touched => {}
                Change::Open(mut new) => {
                    self.seen.extend(new.pending.iter().map(|p| (slot, p.id)));
                    let live = self.live.entry(slot).or_insert_with(|| Live::new(new.tally, new.floor));
                    (live.tally, live.floor) = (new.tally, new.floor);
                    live.pending.append(&mut new.pending);
                }
            }
        }
    }
}

/// What a transaction under way did to a mailbox.
#[derive(Debug)]
pub(super) enum Change {
    /// New values, and the items that were added to those pending before.
    Open(Live),
    Closed,
}

/// What a transaction under way would change in the overlay.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) live: HashMap<i64, Change>,
    pub(super) weight: usize,
    /// The transaction folded everything that the overlay held before.
    pub(super) folded: bool,
}
