//! Beside the process that has the store: an operator's command counts what there is, and makes invitations.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use meow_core::store::StoreStats;
use rusqlite::Connection;

use super::connection::{Role, Source};
use super::log::Row;
use super::overlay::Overlay;
use super::sql::Sql;
use super::tally::Totals;
use super::{StoreError, schema};

/// The log may be folded while it is read; that is rare.
const ATTEMPTS: usize = 16;

pub(super) struct Guest {
    connection: Connection,
    log: Arc<File>,
}

impl Guest {
    pub(super) fn open(source: &Source, log: Arc<File>) -> Result<Self, StoreError> {
        let connection = source.connect(Role::Writer)?;
        if !schema::is_current(&connection, schema::STEPS)? {
            return Err(StoreError::InUse);
        }
        Ok(Self { connection, log })
    }

    /// Changes what has nothing to do with what is pending.
    pub(super) fn with<T>(
        &mut self,
        source: &Source,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let outcome = work(&self.connection);
        source.renew_after(&outcome, Role::Writer, &mut self.connection);
        outcome
    }

    /// The sums of the tables, and of what is in the log.
    pub(super) fn stats(&self, source: &Source, operations: &AtomicU64) -> Result<StoreStats, StoreError> {
        let sql = Sql::new(&self.connection, operations);
        let mut last = StoreError::InUse;
        for _ in 0..ATTEMPTS {
            let (before, rows) = (Totals::load(&sql)?, Row::load(&sql)?);
            let mut totals = before;
            let segments = rows.iter().map(|row| (row.clone(), row.segment(&self.log, &source.key)));
            let read = Overlay::replay(&sql, segments.collect(), true, &mut totals);
            // What was read belongs together if the tables stayed as they were.
            match read {
                Ok(_) if Totals::load(&sql)? == before && Row::load(&sql)? == rows => return Ok(totals.stats),
                Ok(_) => {}
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}
