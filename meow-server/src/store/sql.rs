//! A connection whose statements are cached and counted.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::StoreError;

/// Runs prepared statements on one connection and counts them.
pub(super) struct Sql<'a> {
    connection: &'a Connection,
    operations: &'a AtomicU64,
}

impl<'a> Sql<'a> {
    pub(super) fn new(connection: &'a Connection, operations: &'a AtomicU64) -> Self {
        Self { connection, operations }
    }

    fn count(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs a change and returns how many rows it met.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.count();
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// The first row, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.count();
        Ok(self.connection.prepare_cached(sql)?.query_row(params, map).optional()?)
    }

    /// Every row, in order, until the visitor says to stop.
    pub(super) fn each(
        &self,
        sql: &str,
        params: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.count();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            if !visit(row)? {
                break;
            }
        }
        Ok(())
    }
}
