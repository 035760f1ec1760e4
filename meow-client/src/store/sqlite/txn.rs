//! One transaction as the engine sees it.

use std::cell::Cell;

use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::fault::{damaged, fault};
use super::{schema, search};

/// A view of the store inside a transaction.
pub(super) struct SqliteTxn<'c> {
    conn: &'c Connection,
    writable: bool,
    /// A statement failed. SQLite may then have rolled back by itself, and a later statement would stand
    /// alone; so nothing more is done, whatever the caller makes of the error.
    failed: Cell<bool>,
}

impl<'c> SqliteTxn<'c> {
    /// The view of a transaction that has just begun.
    pub(super) fn new(conn: &'c Connection, writable: bool) -> Result<Self> {
        schema::check_version(conn)?;
        Ok(Self { conn, writable, failed: Cell::new(false) })
    }

    /// Refuses to end well what did not go well.
    pub(super) fn finish(&self) -> Result<()> {
        self.usable()
    }

    fn usable(&self) -> Result<()> {
        if self.failed.get() {
            return Err(Error::new(ErrorKind::System, "an earlier step of this transaction failed"));
        }
        Ok(())
    }

    fn checked<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|e| {
            self.failed.set(true);
            fault(e)
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.usable()?;
        self.checked(
            self.conn
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_map(params, row)?.collect()),
        )
    }

    fn change(&self, sql: &str, params: impl Params) -> Result<()> {
        self.usable()?;
        if !self.writable {
            return Err(Error::new(ErrorKind::Bug, "a read transaction cannot change the store"));
        }
        self.checked(
            self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map(|_| ()),
        )
    }
}

impl StoreTxn for SqliteTxn<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let sql = format!(r#"SELECT value FROM "{}" WHERE key = ?1"#, table.name());
        Ok(self.rows(&sql, [key], |row| row.get(0))?.pop())
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        let sql = format!(
            r#"INSERT INTO "{}" (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value"#,
            table.name()
        );
        self.change(&sql, [key, value])
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<()> {
        self.change(&format!(r#"DELETE FROM "{}" WHERE key = ?1"#, table.name()), [key])
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // A bound that is not given is NULL, and its condition left out: `key > NULL` holds for nothing.
        let end = prefix_end(prefix);
        let mut sql = format!(r#"SELECT key, value FROM "{}" WHERE key >= ?1"#, table.name());
        sql.push_str(if end.is_some() { " AND key < ?2" } else { " AND ?2 IS NULL" });
        sql.push_str(match (after, reverse) {
            (Some(_), false) => " AND key > ?3",
            (Some(_), true) => " AND key < ?3",
            (None, _) => " AND ?3 IS NULL",
        });
        sql.push_str(if reverse { " ORDER BY key DESC LIMIT ?4" } else { " ORDER BY key LIMIT ?4" });
        self.rows(&sql, params![prefix, end, after, count(limit)], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn index_text(&mut self, key: &[u8], text: &str) -> Result<()> {
        self.usable()?;
        let old: Option<(i64, String)> =
            self.checked(self.conn.prepare_cached("SELECT id, text FROM log_text WHERE key = ?1").and_then(
                |mut find| find.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional(),
            ))?;
        if let Some((id, old)) = old {
            self.change(
                "INSERT INTO log_words(log_words, rowid, text) VALUES ('delete', ?1, ?2)",
                params![id, old],
            )?;
            self.change("DELETE FROM log_text WHERE id = ?1", [id])?;
        }
        if text.is_empty() {
            return Ok(());
        }
        self.change("INSERT INTO log_text(key, text) VALUES (?1, ?2)", params![key, text])?;
        let id = self.conn.last_insert_rowid();
        self.change("INSERT INTO log_words(rowid, text) VALUES (?1, ?2)", params![id, text])
    }

    fn search_text(&self, query: &str, limit: usize) -> Result<Vec<Vec<u8>>> {
        let Some(expression) = search::expression(query)? else { return Ok(Vec::new()) };
        let found: Vec<Option<Vec<u8>>> = self.rows(
            "SELECT log_text.key FROM log_words LEFT JOIN log_text ON log_text.id = log_words.rowid
             WHERE log_words MATCH ?1 ORDER BY log_words.rowid DESC LIMIT ?2",
            params![expression, count(limit)],
            |row| row.get(0),
        )?;
        // Words without their text: index and table have come apart.
        found.into_iter().collect::<Option<_>>().ok_or_else(damaged)
    }
}

/// The first key after all that start with the prefix, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=keep)?.to_vec();
    let last = end.last_mut()?;
    *last = last.checked_add(1)?;
    Some(end)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(b""), None);
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
    }
}
