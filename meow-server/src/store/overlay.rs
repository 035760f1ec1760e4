//! What is durable in the log but not yet folded into the tables.
//!
//! The overlay holds some ten thousand entries at most. It changes only after the log was synced or the transaction that folds
//! is committed, and it can be built again from tables and log.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use meow_core::store::StoreStats;

use super::StoreError;
use super::log::{Epoch, Record, scan};
use super::sql::Sql;
use super::tally::{Mailbox, Tally, Totals, length, less};

/// An item that no table knows yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) expires: u64,
    /// Where its sealed record lies in the log; while its batch is under way, which of the batch's records it is.
    pub(super) at: u32,
    pub(super) len: u32,
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
    /// A batch under way changed it, and did not only look.
    pub(super) touched: bool,
}

impl Live {
    pub(super) fn new(tally: Tally, floor: u64) -> Self {
        Self { tally, floor, pending: Vec::new(), touched: false }
    }
}

/// What a mailbox weighs, in records: it takes as much memory.
const MAILBOX: usize = 5;

#[derive(Default)]
pub(super) struct Overlay {
    live: HashMap<i64, Live>,
    /// Those that were deposited to since the last fold, so that the next deposit need not look them up.
    mailboxes: HashMap<[u8; 32], Mailbox>,
    /// Hashes of slot and id of all that is pending.
    seen: HashSet<u64>,
    keys: RandomState,
    weight: usize,
    /// What the bodies are read with; none before anything was appended.
    pub(super) epoch: Option<Arc<Epoch>>,
    /// With what is pending.
    pub(super) stats: StoreStats,
}

impl Overlay {
    /// Reads the log back; `totals` take in what it holds. `torn` as for [`scan`].
    pub(super) fn replay(
        sql: &Sql<'_>,
        epoch: &Epoch,
        torn: bool,
        totals: &mut Totals,
    ) -> Result<Self, StoreError> {
        let mut overlay = Self::default();
        let stats = &mut totals.stats;
        scan(epoch, torn, |at, record| {
            match record {
                Record::Item { slot, number, expires, id, body } => {
                    let live = overlay.entry(sql, slot)?;
                    if number != live.tally.last.saturating_add(1) {
                        return Err(StoreError::BadRow("number"));
                    }
                    let len = length(body);
                    let (at, short) = (narrow(at)?, narrow(len)?);
                    live.tally.last = number;
                    live.tally.items = live.tally.items.saturating_add(1);
                    live.tally.bytes = live.tally.bytes.saturating_add(len);
                    live.pending.push(Pending { number, expires, at, len: short, id });
                    overlay.note(slot, &id);
                    stats.items = stats.items.saturating_add(1);
                    stats.bytes = stats.bytes.saturating_add(len);
                }
                Record::Taken { slot, counter, floor, items, bytes } => {
                    let live = overlay.entry(sql, slot)?;
                    if counter <= live.tally.counter || floor < live.floor || floor > live.tally.last {
                        return Err(StoreError::BadRow("counter"));
                    }
                    live.tally.counter = counter;
                    live.tally.items = less(live.tally.items, items)?;
                    live.tally.bytes = less(live.tally.bytes, bytes)?;
                    live.floor = floor;
                    stats.items = less(stats.items, items)?;
                    stats.bytes = less(stats.bytes, bytes)?;
                }
            }
            overlay.weight += 1;
            Ok(())
        })?;
        overlay.weight = overlay.weight.saturating_add(overlay.live.len().saturating_mul(MAILBOX));
        overlay.stats = totals.stats;
        Ok(overlay)
    }

    /// The mailbox of this slot, from its tables at first. No mailbox is closed while the log holds anything of it.
    fn entry(&mut self, sql: &Sql<'_>, slot: i64) -> Result<&mut Live, StoreError> {
        Ok(match self.live.entry(slot) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let tally = Tally::find(sql, slot)?.ok_or(StoreError::BadRow("slot"))?;
                entry.insert(Live::new(tally, 0))
            }
        })
    }

    pub(super) fn get(&self, slot: i64) -> Option<&Live> {
        self.live.get(&slot)
    }

    /// A mailbox that is open, if it is at hand.
    pub(super) fn mailbox(&self, lkp: &[u8; 32]) -> Option<&Mailbox> {
        self.mailboxes.get(lkp)
    }

    fn note(&mut self, slot: i64, id: &[u8; 16]) {
        self.seen.insert(self.keys.hash_one((slot, id)));
    }

    /// Whether an item with this id is pending.
    pub(super) fn has_seen(&self, slot: i64, id: &[u8; 16]) -> bool {
        self.seen.contains(&self.keys.hash_one((slot, id)))
            && self.get(slot).is_some_and(|live| live.pending.iter().any(|pending| pending.id == *id))
    }

    /// How much waits to be folded, in records.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = i64> {
        self.live.keys().copied()
    }

    /// The body of a pending item.
    pub(super) fn body(&self, pending: &Pending) -> Result<Vec<u8>, StoreError> {
        let epoch = self.epoch.as_ref().ok_or(StoreError::DamagedLog)?;
        epoch.body(pending.at.into(), pending.number, pending.len as usize)
    }

    /// Takes in what was appended; `places` are those of its records.
    pub(super) fn absorb(
        &mut self,
        staged: HashMap<i64, Live>,
        mailboxes: Vec<([u8; 32], Mailbox)>,
        places: &[u64],
    ) -> Result<(), StoreError> {
        self.weight = self.weight.saturating_add(places.len());
        for (slot, mut new) in staged.into_iter().filter(|(_, new)| new.touched) {
            for pending in &mut new.pending {
                let place = places.get(pending.at as usize);
                pending.at = narrow(*place.ok_or(StoreError::BadRow("place"))?)?;
                self.note(slot, &pending.id);
            }
            match self.live.entry(slot) {
                Entry::Occupied(mut entry) => {
                    let live = entry.get_mut();
                    (live.tally, live.floor) = (new.tally, new.floor);
                    live.pending.append(&mut new.pending);
                }
                Entry::Vacant(entry) => {
                    new.touched = false;
                    entry.insert(new);
                    self.weight = self.weight.saturating_add(MAILBOX);
                }
            }
        }
        // Only those that weigh already.
        self.mailboxes
            .extend(mailboxes.into_iter().filter(|(_, mailbox)| self.live.contains_key(&mailbox.slot)));
        Ok(())
    }

    /// Everything was folded.
    pub(super) fn clear(&mut self, epoch: Option<Arc<Epoch>>) {
        // Emptied rather than made anew: the room is needed again.
        self.live.clear();
        self.mailboxes.clear();
        self.seen.clear();
        (self.weight, self.epoch) = (0, epoch);
    }
}

/// A place or a length in the log, whose file is never that long.
fn narrow(value: u64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::TooLong)
}
