//! A batch under way: what it reads, what it will have changed, and folding in the middle of it.

use std::collections::HashMap;

use super::fold;
use super::known::Known;
use super::log::{self, Record, Row};
use super::overlay::{Live, Overlay, Pending};
use super::sql::Sql;
use super::tally::{Mailbox, Tally, Totals};
use super::{StoreError, StoreOptions};

/// A batch under way. `'w` is the life of the writes whose bodies it refers to.
pub(super) struct Txn<'a, 'w> {
    pub(super) sql: Sql<'a>,
    pub(super) options: &'a StoreOptions,
    pub(super) now: u64,
    pub(super) totals: Totals,
    pub(super) staged: Staged<'w>,
    /// The tables were changed.
    pub(super) changed: bool,
    /// What the table of ids may hold.
    pub(super) known: &'a mut Known,
    overlay: &'a Overlay,
    /// Whether items of this batch go into the tables, too.
    whole: bool,
}

/// What a batch would add to log and overlay, and what it did to what was pending.
#[derive(Default)]
pub(super) struct Staged<'w> {
    pub(super) live: HashMap<i64, Live>,
    pub(super) records: Vec<Record<'w>>,
    /// Those that were looked up, by Lkp.
    pub(super) mailboxes: Vec<([u8; 32], Mailbox)>,
    /// Mailboxes that are no more, and those with another token.
    pub(super) closed: Vec<i64>,
    pub(super) renewed: Vec<[u8; 32]>,
    /// The tables have every sum, and list nothing that is acknowledged.
    pub(super) settled: bool,
    /// How many of the oldest segments went into the tables.
    pub(super) folded: usize,
}

impl Staged<'_> {
    /// The body of an item of this batch.
    pub(super) fn body(&self, pending: &Pending) -> Result<&[u8], StoreError> {
        match self.records.get(pending.at as usize) {
            Some(Record::Item { body, .. }) => Ok(body),
            _ => Err(StoreError::BadRow("record")),
        }
    }
}

impl<'a, 'w> Txn<'a, 'w> {
    pub(super) fn new(
        sql: Sql<'a>,
        options: &'a StoreOptions,
        now: u64,
        totals: Totals,
        known: &'a mut Known,
        overlay: &'a Overlay,
        whole: bool,
    ) -> Self {
        Self { sql, options, now, totals, staged: Staged::default(), changed: false, known, overlay, whole }
    }

    /// What was not folded before this batch; none once all of it is.
    pub(super) fn overlay(&self) -> Option<&'a Overlay> {
        let segments = self.overlay.segments().len();
        (self.staged.folded == 0 || self.staged.folded < segments).then_some(self.overlay)
    }

    /// What the newest change says of a mailbox.
    pub(super) fn newest(&self, slot: i64) -> Option<&Live> {
        let staged = self.staged.live.get(&slot).filter(|live| live.changed);
        staged.or(self.overlay().and_then(|overlay| overlay.get(slot)))
    }

    /// Every pending item of a mailbox, in order of number.
    pub(super) fn pending(&self, slot: i64) -> impl Iterator<Item = &Pending> {
        let before = self.overlay().and_then(|overlay| overlay.get(slot));
        before.into_iter().chain(self.staged.live.get(&slot)).flat_map(|live| &live.pending)
    }

    /// Notes what the tables have for a mailbox now.
    pub(super) fn tell(&mut self, slot: i64, tally: Tally) {
        let floor = self.newest(slot).map_or(0, |live| live.floor);
        let live = self.staged.live.entry(slot).or_insert_with(|| Live::new(tally, floor));
        (live.tally, live.changed) = (tally, true);
    }

    /// Sees to it that the tables have every sum and list nothing that is acknowledged. Items stay in the log, unless those of
    /// this batch go into the tables: then all do. Only in a transaction that may write.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        if self.whole { self.fold(self.overlay.segments().len()) } else { fold::sums(self) }
    }

    /// Puts what so many of the oldest segments hold into the tables; where the items of this batch go there too, those as well.
    pub(super) fn fold(&mut self, segments: usize) -> Result<(), StoreError> {
        fold::sums(self)?;
        // Once in a transaction.
        let segments = if self.staged.folded == 0 { segments } else { 0 };
        fold::items(self, segments)?;
        if let Some(last) = segments.checked_sub(1).and_then(|last| self.overlay.segments().get(last)) {
            let all = segments == self.overlay.segments().len();
            log::forget(&self.sql, if all { self.totals.generation } else { last.generation })?;
            (self.staged.folded, self.changed) = (segments, true);
        }
        if self.whole {
            self.staged.live.clear();
            self.staged.mailboxes.clear();
            self.changed |= !self.staged.records.is_empty();
            self.staged.records.clear();
        }
        Ok(())
    }

    /// Names a new segment of the log; nothing more goes into the one before.
    pub(super) fn begin(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(last) = self.overlay().and_then(|overlay| overlay.segments().back()) {
            last.seal(&self.sql)?;
        }
        row.insert(&self.sql)?;
        (self.totals.generation, self.changed) = (row.generation(), true);
        Ok(())
    }
}
