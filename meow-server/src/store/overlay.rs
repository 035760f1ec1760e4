//! What is durable in the log but not yet folded into the tables.
//!
//! The overlay holds some ten thousand entries at most. It changes only after the log was synced or the transaction that folds
//! is committed, and it can be built again from tables and log: the items from the log alone, sums and counters from the tables
//! and what came since.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use meow_core::store::StoreStats;

use super::StoreError;
use super::log::{Record, Row, Segment, scan};
use super::sql::Sql;
use super::tally::{Mailbox, Tally, Totals, length, less};
use super::txn::Staged;

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
    /// In order of number, and of segments; all of them above what `place` lists.
    pub(super) pending: VecDeque<Pending>,
    /// The tables have another tally, or list what is acknowledged. In a batch: it changed it, and did not only look.
    pub(super) changed: bool,
}

impl Live {
    pub(super) fn new(tally: Tally, floor: u64) -> Self {
        Self { tally, floor, pending: VecDeque::new(), changed: false }
    }
}

/// What a mailbox weighs, in records: it takes as much memory.
const MAILBOX: usize = 5;

#[derive(Default)]
pub(super) struct Overlay {
    live: HashMap<i64, Live>,
    /// Those that were deposited to and have something pending, so that the next deposit need not look them up.
    mailboxes: HashMap<[u8; 32], Mailbox>,
    /// Hashes of slot and id of all that is pending.
    seen: HashSet<u64>,
    keys: RandomState,
    /// What the bodies are read from, the oldest first. The last is written, or it was before a crash.
    segments: VecDeque<Segment>,
    /// With what is pending.
    pub(super) stats: StoreStats,
}

impl Overlay {
    /// Reads the log back; `totals` take in what it holds. `torn` as for [`scan`].
    pub(super) fn replay(
        sql: &Sql<'_>,
        segments: Vec<(Row, Segment)>,
        torn: bool,
        totals: &mut Totals,
    ) -> Result<Self, StoreError> {
        let mut overlay = Self::default();
        let last = segments.len();
        for (nth, (row, mut segment)) in (1..).zip(segments) {
            let groups = row.groups();
            if groups.is_none() && nth < last {
                return Err(StoreError::BadRow("segment"));
            }
            scan(&mut segment, groups, torn, |at, record| overlay.take(sql, totals, at, record))?;
            overlay.segments.push_back(segment);
        }
        overlay.stats = totals.stats;
        Ok(overlay)
    }

    /// Takes in a record that was read back. The tables may have its effect on sums and counters already.
    fn take(
        &mut self,
        sql: &Sql<'_>,
        totals: &mut Totals,
        at: u64,
        record: Record<'_>,
    ) -> Result<(), StoreError> {
        let (Record::Item { slot, .. } | Record::Taken { slot, .. }) = record;
        let Some(live) = self.entry(sql, slot)? else {
            // Closed since.
            return if slot < totals.next_slot { Ok(()) } else { Err(StoreError::BadRow("slot")) };
        };
        match record {
            Record::Item { number, expires, id, body, .. } => {
                let (at, len) = (narrow(at)?, length(body));
                let next = live.pending.back().map_or(number, |before| before.number.saturating_add(1));
                if number != next || number > live.tally.last.saturating_add(1) {
                    return Err(StoreError::BadRow("number"));
                }
                live.pending.push_back(Pending { number, expires, at, len: narrow(len)?, id });
                if number > live.tally.last {
                    live.changed = true;
                    live.tally.last = number;
                    live.tally.items = live.tally.items.saturating_add(1);
                    live.tally.bytes = live.tally.bytes.saturating_add(len);
                    totals.stats.items = totals.stats.items.saturating_add(1);
                    totals.stats.bytes = totals.stats.bytes.saturating_add(len);
                }
                self.note(slot, &id);
            }
            Record::Taken { counter, floor, items, bytes, .. } => {
                if floor > live.tally.last {
                    return Err(StoreError::BadRow("floor"));
                }
                // Lower than before where nothing of the mailbox was pending any more and the tables were written: then the floor
                // is forgotten, since they list nothing below it.
                live.floor = live.floor.max(floor);
                if counter > live.tally.counter {
                    live.changed = true;
                    live.tally.counter = counter;
                    live.tally.items = less(live.tally.items, items)?;
                    live.tally.bytes = less(live.tally.bytes, bytes)?;
                    totals.remove(items, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The mailbox of this slot, from its tables at first; none if it is closed.
    fn entry(&mut self, sql: &Sql<'_>, slot: i64) -> Result<Option<&mut Live>, StoreError> {
        Ok(match self.live.entry(slot) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => Tally::find(sql, slot)?.map(|tally| entry.insert(Live::new(tally, 0))),
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

    pub(super) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// How much waits to be folded, in records.
    pub(super) fn weight(&self) -> usize {
        let records: usize = self.segments.iter().map(|segment| segment.records).sum();
        records.saturating_add(self.live.len().saturating_mul(MAILBOX))
    }

    /// What is left of that when none, one, two and so on of the oldest segments are folded.
    pub(super) fn weights(&self) -> Vec<usize> {
        let mut weights = vec![0; self.segments.len() + 1];
        let last = self.live.values().filter_map(|live| self.nth(live.pending.back()?.at));
        let mailboxes = last.map(|nth| (nth, MAILBOX));
        let records = self.segments.iter().map(|segment| segment.records).enumerate();
        for (nth, weight) in records.chain(mailboxes) {
            weights.iter_mut().take(nth + 1).for_each(|sum| *sum += weight);
        }
        weights
    }

    /// The mailboxes with such changes, in order.
    pub(super) fn slots(&self, which: impl Fn(&Live) -> bool) -> Vec<i64> {
        let mut slots: Vec<i64> =
            self.live.iter().filter(|(_, live)| which(live)).map(|(slot, _)| *slot).collect();
        slots.sort_unstable();
        slots
    }

    /// How many of the oldest segments have to be folded so that what matches is folded.
    pub(super) fn through(&self, matches: impl Fn(&Live, &Pending) -> bool) -> usize {
        let pending = self.live.values().flat_map(|live| live.pending.iter().map(move |one| (live, one)));
        let found = pending.filter(|(live, one)| matches(live, one));
        found.filter_map(|(_, one)| self.nth(one.at)).max().map_or(0, |nth| nth + 1)
    }

    /// How many of the oldest segments hold nothing that waits to be fetched.
    pub(super) fn spent(&self) -> usize {
        let pending =
            self.live.values().flat_map(|live| live.pending.iter().find(|one| one.number > live.floor));
        pending.filter_map(|one| self.nth(one.at)).min().unwrap_or(self.segments.len())
    }

    /// Which segment has this place.
    pub(super) fn nth(&self, place: u32) -> Option<usize> {
        self.segments.iter().position(|segment| segment.has(place))
    }

    /// The body of a pending item.
    pub(super) fn body(&self, pending: &Pending) -> Result<Vec<u8>, StoreError> {
        let segment = self.nth(pending.at).and_then(|nth| self.segments.get(nth));
        let segment = segment.ok_or(StoreError::DamagedLog)?;
        segment.epoch.body(pending.at.into(), pending.number, pending.len as usize)
    }

    /// Takes in what was appended; `places` are those of its records.
    pub(super) fn absorb(
        &mut self,
        staged: HashMap<i64, Live>,
        mailboxes: Vec<([u8; 32], Mailbox)>,
        places: &[u64],
    ) -> Result<(), StoreError> {
        if let Some(segment) = self.segments.back_mut() {
            segment.groups += 1;
            segment.records += places.len();
        }
        for (slot, mut new) in staged.into_iter().filter(|(_, new)| new.changed) {
            for pending in &mut new.pending {
                let place = places.get(pending.at as usize);
                pending.at = narrow(*place.ok_or(StoreError::BadRow("place"))?)?;
                self.note(slot, &pending.id);
            }
            match self.live.entry(slot) {
                Entry::Occupied(mut entry) => {
                    let live = entry.get_mut();
                    (live.tally, live.floor, live.changed) = (new.tally, new.floor, true);
                    live.pending.append(&mut new.pending);
                }
                Entry::Vacant(entry) => drop(entry.insert(new)),
            }
        }
        // Only those that weigh already.
        self.mailboxes
            .extend(mailboxes.into_iter().filter(|(_, mailbox)| self.live.contains_key(&mailbox.slot)));
        Ok(())
    }

    /// Takes in what a transaction did to the tables.
    pub(super) fn settle(&mut self, done: Settled) {
        let Settled { tallies, closed, renewed, folded } = done;
        for (slot, tally) in tallies {
            if let Some(live) = self.live.get_mut(&slot) {
                live.tally = tally;
            }
        }
        for slot in closed {
            for one in self.live.remove(&slot).into_iter().flat_map(|live| live.pending) {
                self.seen.remove(&self.keys.hash_one((slot, &one.id)));
            }
        }
        let kept = self.segments.split_off(folded.min(self.segments.len()));
        let gone = std::mem::replace(&mut self.segments, kept);
        let (seen, keys) = (&mut self.seen, &self.keys);
        self.live.retain(|slot, live| {
            let folded = |one: &Pending| gone.iter().any(|segment| segment.has(one.at));
            let count = live.pending.iter().take_while(|one| folded(one)).count();
            for one in live.pending.drain(..count) {
                seen.remove(&keys.hash_one((*slot, &one.id)));
            }
            live.changed = false;
            !live.pending.is_empty()
        });
        self.mailboxes.retain(|lkp, mailbox| self.live.contains_key(&mailbox.slot) && !renewed.contains(lkp));
    }

    /// From now on this segment is written.
    pub(super) fn begin(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }
}

/// What a transaction did to what was pending: all of it is in the tables but for the items of younger segments.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Tallies that it changed beyond that.
    pub(super) tallies: Vec<(i64, Tally)>,
    /// Mailboxes that are no more, and those with another token.
    pub(super) closed: Vec<i64>,
    pub(super) renewed: Vec<[u8; 32]>,
    /// How many of the oldest segments went into the tables whole.
    pub(super) folded: usize,
}

impl Settled {
    pub(super) fn of(staged: Staged<'_>) -> Self {
        let Staged { live, closed, renewed, folded, .. } = staged;
        let tallies =
            live.into_iter().filter(|(_, live)| live.changed).map(|(slot, live)| (slot, live.tally));
        Self { tallies: tallies.collect(), closed, renewed, folded }
    }
}

/// A place or a length in the log, whose file is never that long.
fn narrow(value: u64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::TooLong)
}
