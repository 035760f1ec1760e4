//! The running sums, so that no request counts rows.

use meow_core::store::StoreStats;
use rusqlite::Row;

use super::StoreError;
use super::sql::Sql;

/// Sums over the whole store. Read and written once per transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// The slot of the next new mailbox; slots are never used again.
    pub(super) next_slot: i64,
    pub(super) stats: StoreStats,
}

impl Totals {
    pub(super) fn load(sql: &Sql<'_>) -> Result<Self, StoreError> {
        let row =
            sql.one("SELECT next_slot, mailboxes, items, bytes FROM totals WHERE one = 1", [], |row| {
                let stats = StoreStats {
                    mailboxes: unsigned(row, 1)?,
                    items: unsigned(row, 2)?,
                    bytes: unsigned(row, 3)?,
                };
                Ok(Self { next_slot: row.get(0)?, stats })
            })?;
        row.ok_or(StoreError::BadRow("totals"))
    }

    pub(super) fn store(&self, sql: &Sql<'_>) -> Result<(), StoreError> {
        let StoreStats { mailboxes, items, bytes } = self.stats;
        sql.run(
            "UPDATE totals SET next_slot = ?1, mailboxes = ?2, items = ?3, bytes = ?4 WHERE one = 1",
            (self.next_slot, capped(mailboxes), capped(items), capped(bytes)),
        )?;
        Ok(())
    }

    pub(super) fn remove(&mut self, items: u64, bytes: u64) -> Result<(), StoreError> {
        self.stats.items = less(self.stats.items, items)?;
        self.stats.bytes = less(self.stats.bytes, bytes)?;
        Ok(())
    }
}

/// One mailbox's row.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) slot: i64,
    /// Hash of the deposit token; none once the mailbox is closed.
    pub(super) token: Option<[u8; 32]>,
    pub(super) close: [u8; 32],
    /// The highest counter that its Lkp used.
    pub(super) counter: u64,
    /// The highest item number given.
    pub(super) last: u64,
    pub(super) items: u64,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
}

impl Mailbox {
    /// Finds a mailbox, also a closed one.
    pub(super) fn find(sql: &Sql<'_>, lkp: &[u8; 32]) -> Result<Option<Self>, StoreError> {
        sql.one(
            "SELECT slot, token, close, counter, last, items, blobs, bytes FROM mailbox WHERE lkp = ?1",
            [lkp],
            |row| {
                Ok(Self {
                    slot: row.get(0)?,
                    token: row.get(1)?,
                    close: row.get(2)?,
                    counter: row.get::<_, i64>(3)?.cast_unsigned(),
                    last: unsigned(row, 4)?,
                    items: unsigned(row, 5)?,
                    blobs: unsigned(row, 6)?,
                    bytes: unsigned(row, 7)?,
                })
            },
        )
    }

    /// Finds a mailbox that is open.
    pub(super) fn find_open(sql: &Sql<'_>, lkp: &[u8; 32]) -> Result<Option<Self>, StoreError> {
        Ok(Self::find(sql, lkp)?.filter(|mailbox| mailbox.token.is_some()))
    }

    /// Writes back what changes with requests.
    pub(super) fn store(&self, sql: &Sql<'_>, lkp: &[u8; 32]) -> Result<(), StoreError> {
        let met = sql.run(
            "UPDATE mailbox SET token = ?2, counter = ?3, last = ?4, items = ?5, blobs = ?6, bytes = ?7 \
             WHERE lkp = ?1",
            (
                lkp,
                self.token,
                self.counter.cast_signed(),
                capped(self.last),
                capped(self.items),
                capped(self.blobs),
                capped(self.bytes),
            ),
        )?;
        if met == 1 { Ok(()) } else { Err(StoreError::BadRow("mailbox")) }
    }
}

/// A column that is never negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// As SQLite's signed integer; beyond it, its largest (times and numbers that are never reached).
pub(super) fn capped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A length as SQLite's and the tallies' integer.
pub(super) fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// Takes from a sum what it must hold.
pub(super) fn less(sum: u64, part: u64) -> Result<u64, StoreError> {
    sum.checked_sub(part).ok_or(StoreError::BadRow("sums"))
}
