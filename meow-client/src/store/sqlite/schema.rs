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

/// Refuses a transaction after a newer program has migrated the store under this one's feet. Asked first, it
/// also fixes what the transaction sees.
pub(super) fn check_version(conn: &Connection) -> Result<()> {
    if version(conn)? == STEPS.len() { Ok(()) } else { Err(newer()) }
}

fn version(conn: &Connection) -> Result<usize> {
    let version: i64 = conn
        .prepare_cached("PRAGMA user_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(fault)?;
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
    let copied = conn.execute("VACUUM INTO ?1", [name]).map_err(fault).and_then(|_| {
        // Versions only rise; if another process has migrated meanwhile, the copy that it made is the right one.
        if self::version(conn)? == version {
            files::rename_durably(&unfinished, &beside(path, &format!(".v{version}")))
        } else {
            files::remove_if_there(&unfinished)
        }
    });
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

#[cfg(test)]
mod tests {
    use meow_core::ErrorKind;
    use meow_core::crypto::Secret;
    use meow_core::store::{ClientStore, Table};

    use super::super::connect::connect;
    use super::*;
    use crate::store::SqliteClientStore;

    fn key() -> Secret {
        Secret::new([7; 32])
    }

    fn version_2(txn: &Transaction<'_>) -> rusqlite::Result<()> {
        txn.execute_batch("CREATE TABLE \"next\" (key BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID, STRICT;")?;
        txn.execute("UPDATE meta SET value = x'02'", []).map(|_| ())
    }

    fn fails(txn: &Transaction<'_>) -> rusqlite::Result<()> {
        version_2(txn)?;
        txn.execute_batch("INSERT INTO no_such_table VALUES (1)")
    }

    /// A store of version 1 with one entry, beside nothing else.
    fn of_version_1() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteClientStore::create(&path, &key()).unwrap();
        store.write(&mut |txn| txn.put(Table::Meta, b"version", &[1])).unwrap();
        (folder, path)
    }

    fn entry(conn: &Connection) -> Vec<u8> {
        conn.query_row("SELECT value FROM meta", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_table_of_the_trait_exists() {
        let (_folder, path) = of_version_1();
        let store = SqliteClientStore::open(&path, &key()).unwrap();
        store
            .write(&mut |txn| Table::ALL.iter().try_for_each(|table| txn.put(*table, b"key", b"value")))
            .unwrap();
    }

    #[test]
    fn a_migration_keeps_a_copy_of_what_was() {
        let (_folder, path) = of_version_1();
        let mut conn = connect(&path, &key()).unwrap();
        migrate(&mut conn, Some(&path), &[version_1, version_2]).unwrap();
        assert_eq!(version(&conn).unwrap(), 2);
        assert_eq!(entry(&conn), [2]);
        drop(conn);
        let copy = beside(&path, ".v1");
        let conn = connect(&copy, &key()).unwrap();
        assert_eq!(version(&conn).unwrap(), 1);
        assert_eq!(entry(&conn), [1]);
        let bytes = std::fs::read(&copy).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"SQLite"), "encrypted like the store");
        assert_eq!(connect(&copy, &Secret::new([8; 32])).unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 5, "no rest of the copying");
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let (_folder, path) = of_version_1();
        let mut conn = connect(&path, &key()).unwrap();
        migrate(&mut conn, Some(&path), &[version_1, fails]).unwrap_err();
        drop(conn);
        let store = SqliteClientStore::open(&path, &key()).unwrap();
        store.verify().unwrap();
        let mut conn = connect(&path, &key()).unwrap();
        assert_eq!((version(&conn).unwrap(), entry(&conn)), (1, vec![1]));
        migrate(&mut conn, Some(&path), &[version_1, version_2]).unwrap();
        assert_eq!(entry(&conn), [2], "and can be tried again");
    }

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let (_folder, path) = of_version_1();
        let mut conn = connect(&path, &key()).unwrap();
        migrate(&mut conn, Some(&path), &[version_1, version_2]).unwrap();
        drop(conn);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(SqliteClientStore::open(&path, &key()).unwrap_err().kind(), ErrorKind::NewerVersion);
        assert!(std::fs::read(&path).unwrap() == whole);
    }

    #[test]
    fn a_store_migrated_under_an_older_program_is_refused() {
        let (_folder, path) = of_version_1();
        let store = SqliteClientStore::open(&path, &key()).unwrap();
        store.read(&mut |_| Ok(())).unwrap();
        let mut conn = connect(&path, &key()).unwrap();
        migrate(&mut conn, Some(&path), &[version_1, version_2]).unwrap();
        for error in [
            store.write(&mut |txn| txn.put(Table::Meta, b"a", b"b")).unwrap_err(),
            store.read(&mut |_| Ok(())).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NewerVersion);
        }
        assert_eq!(entry(&conn), [2]);
    }

    #[test]
    fn a_store_without_tables_is_damaged() {
        let (_folder, path) = of_version_1();
        let mut conn = connect(&path, &key()).unwrap();
        conn.execute_batch("PRAGMA user_version = 0").unwrap();
        assert_eq!(migrate(&mut conn, Some(&path), STEPS).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn deleted_texts_leave_the_index() {
        let (_folder, path) = of_version_1();
        let store = SqliteClientStore::open(&path, &key()).unwrap();
        for text in ["xylophone concert", ""] {
            store.write(&mut |txn| txn.index_text(b"a", text)).unwrap();
        }
        let conn = connect(&path, &key()).unwrap();
        let left: i64 = conn
            .query_row(
                "SELECT (SELECT count(*) FROM log_words_data WHERE instr(block, CAST('xylo' AS BLOB)))
                      + (SELECT count(*) FROM log_text)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(left, 0);
    }
}
