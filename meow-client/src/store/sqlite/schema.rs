//! The tables, their version and the way from older versions to this one.

use std::path::Path;

use meow_core::Result;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::connect::beside;
use super::fault::{damaged, fault};
use super::header::newer;
use crate::files;

/// Brings a store from one version to the next.
pub(super) type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The step at index `n` leads from version `n` to `n + 1`; an empty file has version 0. Steps are never
/// changed once released, only added.
pub(super) const STEPS: &[Step] = &[version_1];

fn version_1(txn: &Transaction<'_>) -> rusqlite::Result<()> {
    for name in
        ["meta", "servers", "contacts", "names", "log", "outbox", "events", "items", "mailboxes", "recovery"]
    {
        txn.execute_batch(&format!(
            r#"CREATE TABLE "{name}" (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;"#
        ))?;
    }
    // The text lies in a table of its own, because removing words from the index needs the text that was
    // indexed. `id` rises with each indexing; `secure-delete` makes FTS5 remove words instead of marking them.
    txn.execute_batch(
        "CREATE TABLE log_text (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             key BLOB NOT NULL UNIQUE,
             text TEXT NOT NULL
         ) STRICT;
         CREATE VIRTUAL TABLE log_words USING fts5(
             text, content = 'log_text', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
         );
         INSERT INTO log_words(log_words, rank) VALUES ('secure-delete', 1);",
    )
}

/// Runs the missing steps in one transaction, after a copy of the older store was put beside it (`keep`).
pub(super) fn migrate(conn: &mut Connection, keep: Option<&Path>, steps: &[Step]) -> Result<()> {
    let current = steps.len();
    let found = version(conn)?;
    if found > current {
        return Err(newer());
    }
    if found == current {
        return Ok(());
    }
    match keep {
        // A store is created whole, so one without tables was emptied.
        Some(_) if found == 0 => return Err(damaged()),
        Some(path) => copy(conn, path, found)?,
        None => (),
    }
    let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    let found = version(&txn)?;
    if found > current {
        return Err(newer());
    }
    for step in steps.iter().skip(found) {
        step(&txn).map_err(fault)?;
    }
    txn.execute_batch(&format!("PRAGMA user_version = {current}")).map_err(fault)?;
    txn.commit().map_err(fault)
}

fn version(conn: &Connection) -> Result<usize> {
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fault)?;
    usize::try_from(version).map_err(|_| damaged())
}

/// Keeps the store as it is now under `store.db.v<version>`, encrypted with the same key.
fn copy(conn: &Connection, path: &Path, version: usize) -> Result<()> {
    let unfinished = beside(path, &format!(".copy-{}", std::process::id()));
    files::remove_if_there(&unfinished)?;
    files::create_private(&unfinished)?;
    let name = unfinished.to_str().ok_or_else(|| {
        meow_core::Error::new(
            meow_core::ErrorKind::Usage,
            "the store's folder has a name that is not UTF-8: move it before updating",
        )
    })?;
    let copied = conn
        .execute("VACUUM INTO ?1", [name])
        .map_err(fault)
        .and_then(|_| files::rename_durably(&unfinished, &beside(path, &format!(".v{version}"))));
    if copied.is_err() {
        // The error that matters is the first one.
        let _ = files::remove_if_there(&unfinished);
    }
    copied
}

/// Reads every page and compares the search index with the texts.
pub(super) fn verify(conn: &Connection) -> Result<()> {
    // One row for each page that does not verify.
    let bad: Option<String> =
        conn.query_row("PRAGMA cipher_integrity_check", [], |row| row.get(0)).optional().map_err(fault)?;
    if bad.is_some() {
        return Err(damaged());
    }
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(fault)?;
    if verdict != "ok" {
        return Err(damaged());
    }
    conn.execute("INSERT INTO log_words(log_words, rank) VALUES ('integrity-check', 1)", [])
        .map(|_| ())
        .map_err(fault)
}
