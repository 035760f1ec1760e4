//! A batch under way: what it reads, what it will have changed, and folding in the middle of it.

use std::collections::HashMap;

use super::fold;
use super::known::Known;
use super::log::Record;
use super::overlay::{Live, Overlay, Pending};
use super::sql::Sql;
use super::tally::{Mailbox, Totals};
use super::{StoreError, StoreOptions};

/// A batch under way. `'w` is the life of the writes whose bodies it refers to.
pub(super) struct Txn<'a, 'w> {
    pub(super) sql: Sql<'a>,
    pub(super) options: &'a StoreOptions,
    pub(super) now: u64,
    pub(super) totals: Totals,
    pub(super) staged: Staged<'w>,
    /// The tables were changed beside what is pending.
    pub(super) changed: bool,
    /// The log is not needed any more.
    pub(super) rests: bool,
    /// What the table of ids may hold.
    pub(super) known: &'a mut Known,
    overlay: &'a Overlay,
}

/// What a batch would add to log and overlay.
#[derive(Default)]
pub(super) struct Staged<'w> {
    pub(super) live: HashMap<i64, Live>,
    pub(super) records: Vec<Record<'w>>,
    /// Those that were looked up, by Lkp.
    pub(super) mailboxes: Vec<([u8; 32], Mailbox)>,
    /// Overlay and records before went into the tables, by the transaction under way.
    pub(super) folded: bool,
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
    ) -> Self {
        let staged = Staged::default();
        Self { sql, options, now, totals, staged, changed: false, rests: false, known, overlay }
    }

    /// What was not folded before this batch; none once it is folded.
    pub(super) fn overlay(&self) -> Option<&'a Overlay> {
        (!self.staged.folded).then_some(self.overlay)
    }

    /// What the newest change that is not folded says of a mailbox.
    pub(super) fn newest(&self, slot: i64) -> Option<&Live> {
        fold::newest(self.staged.live.get(&slot), self.overlay().and_then(|overlay| overlay.get(slot)))
    }

    /// Every pending item of a mailbox, in order of number.
    pub(super) fn pending(&self, slot: i64) -> impl Iterator<Item = &Pending> {
        let before = self.overlay().and_then(|overlay| overlay.get(slot));
        before.into_iter().chain(self.staged.live.get(&slot)).flat_map(|live| &live.pending)
    }

    /// Puts everything that is pending into the tables, this batch's too, so that they alone say how things are. Only in a
    /// transaction that may write.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let nothing = self.overlay().is_none_or(|overlay| overlay.weight() == 0);
        if nothing && self.staged.records.is_empty() {
            // Nothing is pending: what was looked up is as the tables say.
            return Ok(());
        }
        fold::fold(self)?;
        self.staged = Staged { folded: true, ..Staged::default() };
        Ok(())
    }
}
