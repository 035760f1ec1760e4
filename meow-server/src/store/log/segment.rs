//! Stretches of the log's file. Each is written once under keys of its own, folded as a whole, and then written over.

use std::sync::Arc;

use meow_core::crypto::Secret;

use super::super::StoreError;
use super::super::sql::Sql;
use super::epoch::{Epoch, Salt};
use super::{LEAST, Log, SECTOR};

/// What the tables say of a segment that is not folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(super) generation: i64,
    pub(super) salt: Salt,
    pub(super) start: u64,
    pub(super) size: u64,
    /// How many groups it has; none while it is written.
    pub(super) groups: Option<u64>,
}

impl Row {
    pub(crate) fn generation(&self) -> i64 {
        self.generation
    }

    /// How many groups there must be; none for the one that is written, or was before a crash.
    pub(crate) fn groups(&self) -> Option<u64> {
        self.groups
    }

    /// All of them, the oldest first.
    pub(crate) fn load(sql: &Sql<'_>) -> Result<Vec<Self>, StoreError> {
        let mut rows = Vec::new();
        let query = "SELECT generation, salt, start, size, groups FROM segment ORDER BY generation";
        sql.each(query, [], |row| {
            let groups: Option<i64> = row.get(4)?;
            rows.push(Self {
                generation: row.get(0)?,
                salt: row.get(1)?,
                start: whole(row.get(2)?)?,
                size: whole(row.get(3)?)?,
                groups: groups.map(whole).transpose()?,
            });
            Ok(true)
        })?;
        Ok(rows)
    }

    pub(crate) fn insert(&self, sql: &Sql<'_>) -> Result<(), StoreError> {
        sql.run(
            "INSERT INTO segment (generation, salt, start, size) VALUES (?1, ?2, ?3, ?4)",
            (self.generation, self.salt, signed(self.start), signed(self.size)),
        )?;
        Ok(())
    }

    /// The segment, with nothing known to be in it.
    pub(crate) fn segment(&self, log: &Arc<std::fs::File>, key: &Secret) -> Segment {
        let epoch = Epoch::new(Arc::clone(log), key, &self.salt);
        let end = self.start.saturating_add(self.size);
        let Self { generation, start, .. } = *self;
        Segment { generation, start, end, groups: 0, records: 0, epoch: Arc::new(epoch) }
    }
}

/// A segment that is not folded.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) generation: i64,
    /// Where it begins, with its head.
    pub(crate) start: u64,
    /// Where it ends at the latest.
    pub(crate) end: u64,
    /// What is known to be in it.
    pub(crate) groups: u64,
    pub(crate) records: usize,
    pub(crate) epoch: Arc<Epoch>,
}

impl Segment {
    pub(crate) fn has(&self, place: u32) -> bool {
        (self.start..self.end).contains(&place.into())
    }

    /// Where its first group begins.
    pub(super) fn first(&self) -> u64 {
        self.start.saturating_add(SECTOR)
    }

    /// Nothing more is written into it: notes what there is.
    pub(crate) fn seal(&self, sql: &Sql<'_>) -> Result<(), StoreError> {
        sql.run(
            "UPDATE segment SET groups = ?2 WHERE generation = ?1 AND groups IS NULL",
            (self.generation, signed(self.groups)),
        )?;
        Ok(())
    }
}

/// Forgets segments up to this one.
pub(crate) fn forget(sql: &Sql<'_>, upto: i64) -> Result<(), StoreError> {
    sql.run("DELETE FROM segment WHERE generation <= ?1", [upto])?;
    Ok(())
}

impl Log {
    /// A place for a segment beside these: the lowest that is free, and for which the file has room.
    pub(crate) fn place<'s>(
        &mut self,
        taken: impl Iterator<Item = &'s Segment> + Clone,
    ) -> Option<(u64, u64)> {
        let size = self.size;
        let starts = (0..self.most / size).map(|n| n * size);
        let mut free =
            starts.filter(|&start| taken.clone().all(|one| one.end <= start || start + size <= one.start));
        let start = free.next()?;
        self.reach(start.saturating_add(LEAST)).then_some((start, size))
    }
}

fn whole(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::BadRow("segment"))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
