//! The tables, their version, and the way from one version to the next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Marks the file as a mailbox store ("Meow" as a big-endian number).
pub(super) const APPLICATION_ID: i64 = 0x4d65_6f77;

/// One step for each version: the first makes version 1 from an empty file.
pub(super) const STEPS: &[&str] = &[V1];

// A deposit appends one row to `item`, an acknowledgement one to `change`, and nothing else: two or three
// pages for a batch, however many mailboxes it is for. `place`, `seen`, `due` and `tally`, which would each
// cost a page of their own per deposit, follow by the thousand when the store folds (`fold.rs`). Rows of
// `item` above `totals.folded`, and all of `change`, are not yet in them.
//
// `slot` is a small number that stands for a mailbox and is never used again.
const V1: &str = "
CREATE TABLE totals (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL,
    next_slot  INTEGER NOT NULL,
    next_seq   INTEGER NOT NULL,
    folded     INTEGER NOT NULL,
    mailboxes  INTEGER NOT NULL,
    items      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 1, 1, 0, 0, 0, 0);
CREATE TABLE mailbox (
    lkp   BLOB PRIMARY KEY,
    slot  INTEGER NOT NULL,
    token BLOB,
    close BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tally (
    slot    INTEGER PRIMARY KEY,
    counter INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    items   INTEGER NOT NULL,
    blobs   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
CREATE TABLE item (
    seq     INTEGER PRIMARY KEY,
    slot    INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    id      BLOB NOT NULL,
    expires INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
CREATE TABLE change (
    seq     INTEGER PRIMARY KEY,
    slot    INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    floor   INTEGER NOT NULL,
    items   INTEGER NOT NULL,
    blobs   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
CREATE TABLE place (
    slot   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    len    INTEGER NOT NULL,
    PRIMARY KEY (slot, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE seen (
    slot INTEGER NOT NULL,
    id   BLOB NOT NULL,
    PRIMARY KEY (slot, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE due (
    expires INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (expires, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE forget (
    seq  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    id   BLOB NOT NULL
) STRICT;
CREATE TABLE blob (
    slot    INTEGER NOT NULL,
    name    BLOB NOT NULL,
    expires INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (slot, name)
) STRICT;
CREATE INDEX blob_expires ON blob (expires);
CREATE TABLE invite (
    hash    BLOB PRIMARY KEY,
    uses    INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Brings the file to the newest version that `steps` know. Before an existing file changes, a copy of it is
/// kept as `NAME.vN`; putting it back is the way back.
pub(super) fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    let found = version(connection)?;
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Foreign)?;
    let Some(missing) = steps.get(done..).filter(|missing| !missing.is_empty()) else { return Ok(()) };
    if done > 0 {
        keep_copy(connection, path, found)?;
    }
    // All steps in one transaction: a crash leaves the old version or the new one.
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        txn.execute_batch(step)?;
    }
    txn.pragma_update(None, "application_id", APPLICATION_ID)?;
    txn.pragma_update(None, "user_version", known)?;
    txn.commit()?;
    Ok(())
}

/// The file's version; 0 for a file that is being made.
fn version(connection: &Connection) -> Result<i64, StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = number("user_version")?;
    let application = number("application_id")?;
    let fresh = version == 0 && application == 0 && number("schema_version")? == 0;
    if application == APPLICATION_ID || fresh { Ok(version) } else { Err(StoreError::Foreign) }
}

/// The name of the copy that is kept of a file of this version.
pub(super) fn copy_name(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    PathBuf::from(name)
}

fn keep_copy(connection: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    // Everything into the main file, so that the copy is whole.
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
    if busy != 0 {
        return Err(StoreError::InUse);
    }
    let copy = copy_name(path, version);
    let partial = copy.with_extension("partial");
    fs::copy(path, &partial)?;
    File::open(&partial)?.sync_all()?;
    fs::rename(&partial, &copy)?;
    sync_folder(path)
}

/// Makes a new name in the folder of this file durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Folders cannot be opened, and need not be, where this is not Unix.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;
    use crate::store::connection::{Role, Source};
    use meow_core::crypto::Secret;

    const NEXT: &[&str] =
        &[V1, "ALTER TABLE mailbox ADD COLUMN note TEXT; UPDATE mailbox SET note = 'moved';"];
    const BROKEN: &[&str] = &[V1, "ALTER TABLE mailbox ADD COLUMN note TEXT; SELECT nonsense FROM nowhere;"];

    fn source(path: &Path) -> Source {
        Source { path: path.to_owned(), key: Secret::new([3; 32]), options: StoreOptions::default() }
    }

    fn version_of(path: &Path) -> i64 {
        version(&source(path).connect(Role::Reader).unwrap()).unwrap()
    }

    fn old_store(path: &Path) -> Connection {
        let source = source(path);
        source.prepare().unwrap();
        let connection = source.connect(Role::Writer).unwrap();
        connection.execute("INSERT INTO mailbox (lkp, slot, close) VALUES (x'01', 1, x'02')", []).unwrap();
        connection
    }

    #[test]
    fn a_migration_keeps_a_copy_that_is_the_way_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.db");
        let mut connection = old_store(&path);
        migrate(&mut connection, &path, NEXT).unwrap();
        let note: String = connection.query_row("SELECT note FROM mailbox", [], |row| row.get(0)).unwrap();
        assert_eq!(note, "moved");
        drop(connection);
        assert_eq!(version_of(&path), 2);

        // The copy is a whole store of the old version, with the row that was still in the log.
        let copy = copy_name(&path, 1);
        assert_eq!(version_of(&copy), 1);
        fs::rename(&copy, &path).unwrap();
        let mut connection = source(&path).connect(Role::Writer).unwrap();
        migrate(&mut connection, &path, STEPS).unwrap();
        let slot: i64 = connection.query_row("SELECT slot FROM mailbox", [], |row| row.get(0)).unwrap();
        assert_eq!(slot, 1);
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.db");
        let mut connection = old_store(&path);
        assert!(migrate(&mut connection, &path, BROKEN).is_err());
        drop(connection);
        assert_eq!(version_of(&path), 1);
        let mut connection = source(&path).connect(Role::Writer).unwrap();
        migrate(&mut connection, &path, NEXT).unwrap();
        let refused = migrate(&mut connection, &path, STEPS).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 2, known: 1 }), "{refused}");
    }
}
