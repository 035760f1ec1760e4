//! The tables, their version, and the way from one version to the next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Marks the file as a mailbox store ("Meow" as a big-endian number).
pub(super) const APPLICATION_ID: i64 = 0x4d65_6f77;

/// One step for each version: the first makes version 1 from an empty file.
pub(super) const STEPS: &[&str] = &[V1, V2, V3];

// A deposit appended one row to `item`, an acknowledgement one to `change`, and nothing else. Rows of `item` above
// `totals.folded`, and all of `change`, were not yet in the other tables.
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

// What was appended since the last fold goes into the other tables; from now on it is in the log before the tables (`log`),
// whose salt `totals.log` holds while it is in use. A program of version 1 must not open such a file: it would miss the log.
const V2: &str = "
CREATE INDEX change_slot ON change (slot, floor);
INSERT INTO seen (slot, id) SELECT slot, id FROM item WHERE seq > (SELECT folded FROM totals);
INSERT INTO place (slot, number, seq, len)
    SELECT slot, number, seq, length(body) FROM item WHERE seq > (SELECT folded FROM totals);
INSERT INTO due (expires, seq) SELECT expires, seq FROM item WHERE seq > (SELECT folded FROM totals);
UPDATE tally SET
    last = max(last, coalesce((SELECT max(number) FROM place WHERE place.slot = tally.slot), 0)),
    items = items + (SELECT count(*) FROM item WHERE item.seq > (SELECT folded FROM totals) AND item.slot = tally.slot)
        + coalesce((SELECT sum(change.items) FROM change WHERE change.slot = tally.slot), 0),
    blobs = blobs + coalesce((SELECT sum(change.blobs) FROM change WHERE change.slot = tally.slot), 0),
    bytes = bytes + coalesce((SELECT sum(length(item.body)) FROM item
            WHERE item.seq > (SELECT folded FROM totals) AND item.slot = tally.slot), 0)
        + coalesce((SELECT sum(change.bytes) FROM change WHERE change.slot = tally.slot), 0),
    counter = coalesce((SELECT change.counter FROM change WHERE change.slot = tally.slot ORDER BY change.seq DESC LIMIT 1),
        counter)
WHERE slot IN (SELECT slot FROM item WHERE seq > (SELECT folded FROM totals) UNION SELECT slot FROM change);
CREATE TABLE gone (seq INTEGER PRIMARY KEY) STRICT;
INSERT INTO gone SELECT seq FROM place WHERE slot IN (SELECT slot FROM change)
    AND number <= (SELECT max(floor) FROM change WHERE change.slot = place.slot);
INSERT INTO forget (at, slot, id)
    SELECT unixepoch() + 86400, slot, id FROM item WHERE seq IN (SELECT seq FROM gone) ORDER BY seq;
DELETE FROM due WHERE (expires, seq) IN (SELECT expires, seq FROM item WHERE seq IN (SELECT seq FROM gone));
DELETE FROM place WHERE (slot, number) IN (SELECT slot, number FROM item WHERE seq IN (SELECT seq FROM gone));
DELETE FROM item WHERE seq IN (SELECT seq FROM gone);
DROP TABLE gone;
DROP TABLE change;
ALTER TABLE totals DROP COLUMN folded;
ALTER TABLE totals ADD COLUMN log BLOB;
";

// The log has segments, which are folded one by one. The whole log of version 2, where it is in use, is one of them.
const V3: &str = "
CREATE TABLE segment (
    generation INTEGER PRIMARY KEY,
    salt       BLOB NOT NULL,
    start      INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    groups     INTEGER
) STRICT;
INSERT INTO segment SELECT generation, log, 0, 2147483648, NULL FROM totals WHERE log IS NOT NULL;
ALTER TABLE totals DROP COLUMN log;
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

/// Whether the file has the newest version that `steps` know.
pub(super) fn is_current(connection: &Connection, steps: &[&str]) -> Result<bool, StoreError> {
    let (found, known) = (version(connection)?, i64::try_from(steps.len()).unwrap_or(i64::MAX));
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(found == known) }
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
        &[V1, V2, V3, "ALTER TABLE mailbox ADD COLUMN note TEXT; UPDATE mailbox SET note = 'moved';"];
    const BROKEN: &[&str] =
        &[V1, V2, V3, "ALTER TABLE mailbox ADD COLUMN note TEXT; SELECT nonsense FROM nowhere;"];

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
        assert_eq!(version_of(&path), 4);

        // The copy is a whole store of the old version, with the row that was still in the log.
        let copy = copy_name(&path, 3);
        assert_eq!(version_of(&copy), 3);
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
        assert_eq!(version_of(&path), 3);
        let mut connection = source(&path).connect(Role::Writer).unwrap();
        migrate(&mut connection, &path, NEXT).unwrap();
        let refused = migrate(&mut connection, &path, STEPS).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 4, known: 3 }), "{refused}");
    }

    /// A store of version 1 as a crash left it: rows that were appended and not folded, in an open mailbox and another.
    const CRASHED: &str = "
        INSERT INTO mailbox VALUES (x'01', 1, x'aa', x'cc'), (x'02', 2, x'bb', x'cc'), (x'03', 3, NULL, x'cc');
        INSERT INTO tally VALUES (1, 5, 2, 2, 0, 8), (2, 8, 0, 0, 0, 0);
        INSERT INTO item VALUES (1, 1, 1, x'11', 2000000000, x'61616161'), (2, 1, 2, x'12', 2000000000, x'62626262'),
            (3, 1, 3, x'13', 2000000000, x'636363636363'), (5, 1, 4, x'14', 2000000000, x'6464646464'),
            (7, 2, 1, x'21', 2000000001, x'656565');
        INSERT INTO seen VALUES (1, x'11'), (1, x'12');
        INSERT INTO place VALUES (1, 1, 1, 4), (1, 2, 2, 4);
        INSERT INTO due VALUES (2000000000, 1), (2000000000, 2);
        INSERT INTO blob VALUES (2, x'99', 2000000000, x'66666666666666666666');
        INSERT INTO change VALUES (4, 1, 6, 1, -1, 0, -4), (6, 1, 7, 3, -2, 0, -10), (8, 2, -2, 0, 0, 1, 10);
        UPDATE totals SET next_slot = 4, next_seq = 9, folded = 2, mailboxes = 2, items = 2, bytes = 18, generation = 7;";

    #[test]
    fn version_1_is_folded_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.db");
        File::create(&path).unwrap();
        let mut connection = source(&path).connect(Role::Writer).unwrap();
        migrate(&mut connection, &path, &[V1]).unwrap();
        connection.execute_batch(CRASHED).unwrap();
        drop(connection);

        let mut connection = source(&path).connect(Role::Writer).unwrap();
        migrate(&mut connection, &path, STEPS).unwrap();
        let rows = |sql: &str| {
            let mut all: Vec<String> = Vec::new();
            let mut statement = connection.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                all.push(row.get(0).unwrap());
            }
            all
        };
        let tally = "SELECT format('%d: %d %d %d %d %d', slot, counter, last, items, blobs, bytes) FROM tally ORDER BY slot";
        assert_eq!(rows(tally), ["1: 7 4 1 0 5", "2: -2 1 1 1 13"]);
        assert_eq!(
            rows("SELECT format('%d %d %s', slot, number, body) FROM item ORDER BY seq"),
            ["1 4 ddddd", "2 1 eee"]
        );
        let place = "SELECT format('%d %d %d %d', slot, number, seq, len) FROM place ORDER BY slot, number";
        assert_eq!(rows(place), ["1 4 5 5", "2 1 7 3"]);
        assert_eq!(
            rows("SELECT format('%d %d', expires, seq) FROM due ORDER BY expires"),
            ["2000000000 5", "2000000001 7"]
        );
        let ids = ["1 11", "1 12", "1 13", "1 14", "2 21"];
        assert_eq!(rows("SELECT format('%d %s', slot, hex(id)) FROM seen ORDER BY slot, id"), ids);
        assert_eq!(rows("SELECT format('%d %s', slot, hex(id)) FROM forget ORDER BY seq"), ids[..3]);
        let totals =
            "SELECT format('%d %d %d %d %d', next_slot, next_seq, mailboxes, items, bytes) FROM totals";
        assert_eq!(rows(totals), ["4 9 2 2 18"]);
        assert!(rows("SELECT name FROM sqlite_schema WHERE name IN ('change', 'gone')").is_empty());

        // The way back is the copy, with everything that was there then.
        let old = source(&copy_name(&path, 1)).connect(Role::Reader).unwrap();
        assert_eq!(version(&old).unwrap(), 1);
        assert_eq!(old.query_row("SELECT count(*) FROM item", [], |row| row.get::<_, i64>(0)).unwrap(), 5);
    }
}
