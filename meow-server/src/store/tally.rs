//! The running sums, so that no request counts rows, and the row that a mailbox is found by.

use meow_core::store::StoreStats;
use rusqlite::Row;

use super::StoreError;
use super::sql::Sql;

/// Sums and sequences of the whole store; written with every transaction that changes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Of the newest segment of the log.
    pub(super) generation: i64,
    pub(super) next_slot: i64,
    pub(super) next_seq: i64,
    pub(super) stats: StoreStats,
}

impl Totals {
    pub(super) fn load(sql: &Sql<'_>) -> Result<Self, StoreError> {
        let row = sql.one(
            "SELECT generation, next_slot, next_seq, mailboxes, items, bytes FROM totals WHERE one = 1",
            [],
            |row| {
                Ok(Self {
                    generation: row.get(0)?,
                    next_slot: row.get(1)?,
                    next_seq: row.get(2)?,
                    stats: StoreStats {
                        mailboxes: unsigned(row, 3)?,
                        items: unsigned(row, 4)?,
                        bytes: unsigned(row, 5)?,
                    },
                })
            },
        )?;
        row.ok_or(StoreError::BadRow("totals"))
    }

    pub(super) fn store(&self, sql: &Sql<'_>) -> Result<(), StoreError> {
        let StoreStats { mailboxes, items, bytes } = self.stats;
        sql.run(
            "UPDATE totals SET generation = ?1, next_slot = ?2, next_seq = ?3, mailboxes = ?4, items = ?5, \
             bytes = ?6 WHERE one = 1",
            (self.generation, self.next_slot, self.next_seq, capped(mailboxes), capped(items), capped(bytes)),
        )?;
        Ok(())
    }

    pub(super) fn remove(&mut self, items: u64, bytes: u64) -> Result<(), StoreError> {
        self.stats.items = less(self.stats.items, items)?;
        self.stats.bytes = less(self.stats.bytes, bytes)?;
        Ok(())
    }

    /// The next sequence number of an item.
    pub(super) fn take_seq(&mut self) -> i64 {
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        seq
    }
}

/// What changes with a mailbox's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The highest counter that its Lkp used.
    pub(super) counter: u64,
    /// The highest item number given.
    pub(super) last: u64,
    pub(super) items: u64,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
}

impl Tally {
    pub(super) fn find(sql: &Sql<'_>, slot: i64) -> Result<Option<Self>, StoreError> {
        let query = "SELECT counter, last, items, blobs, bytes FROM tally WHERE slot = ?1";
        sql.one(query, [slot], |row| {
            Ok(Self {
                counter: row.get::<_, i64>(0)?.cast_unsigned(),
                last: unsigned(row, 1)?,
                items: unsigned(row, 2)?,
                blobs: unsigned(row, 3)?,
                bytes: unsigned(row, 4)?,
            })
        })
    }

    pub(super) fn store(&self, sql: &Sql<'_>, slot: i64) -> Result<(), StoreError> {
        sql.run(
            "INSERT INTO tally (slot, counter, last, items, blobs, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (slot) DO UPDATE SET counter = excluded.counter, last = excluded.last, \
             items = excluded.items, blobs = excluded.blobs, bytes = excluded.bytes",
            (
                slot,
                self.counter.cast_signed(),
                capped(self.last),
                capped(self.items),
                capped(self.blobs),
                capped(self.bytes),
            ),
        )?;
        Ok(())
    }
}

/// How a mailbox is found, and what it was registered with.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) slot: i64,
    /// Hash of the deposit token; none once the mailbox is closed.
    pub(super) token: Option<[u8; 32]>,
    pub(super) close: [u8; 32],
}

impl Mailbox {
    /// Finds a mailbox, also a closed one.
    pub(super) fn find(sql: &Sql<'_>, lkp: &[u8; 32]) -> Result<Option<Self>, StoreError> {
        sql.one("SELECT slot, token, close FROM mailbox WHERE lkp = ?1", [lkp], |row| {
            Ok(Self { slot: row.get(0)?, token: row.get(1)?, close: row.get(2)? })
        })
    }

    /// Finds a mailbox that is open.
    pub(super) fn find_open(sql: &Sql<'_>, lkp: &[u8; 32]) -> Result<Option<Self>, StoreError> {
        Ok(Self::find(sql, lkp)?.filter(|mailbox| mailbox.token.is_some()))
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

/// A length as the tallies' integer.
pub(super) fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// Takes from a sum what it must hold.
pub(super) fn less(sum: u64, part: u64) -> Result<u64, StoreError> {
    sum.checked_sub(part).ok_or(StoreError::BadRow("sums"))
}
