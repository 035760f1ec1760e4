//! Opening one connection.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meow_core::crypto::Secret;
use meow_core::{ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::fault::{damaged, fault};

/// SQLCipher's page size, in bytes: no store is shorter.
pub(super) const PAGE: u64 = 4096;

/// How long a call waits while another process writes. Transactions take milliseconds; only a migration or a
/// machine that swaps comes near.
const BUSY: Duration = Duration::from_secs(30);

/// SQLCipher sets itself up with the first key that a process uses, and fails when several threads do so at the
/// same moment: so it is done once, by one. Its OpenSSL must not clean up when the process ends: a thread that still
/// closes a store then would meet freed memory.
fn start_cipher() -> Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        openssl_sys::init();
        let memory = Connection::open_in_memory().map_err(fault)?;
        unlock(&memory, &Secret::new([0; 32]))?;
        memory.execute_batch("CREATE TABLE started (at INTEGER)").map_err(fault)?;
        *started = true;
    }
    Ok(())
}

/// Gives the connection its key.
fn unlock(conn: &Connection, key: &Secret) -> Result<()> {
    // SQLCipher writes its own complaints to standard error unless told not to; ours go to the caller.
    conn.execute_batch("PRAGMA cipher_log_level = NONE;").map_err(fault)?;
    let mut sql = Zeroizing::new(String::with_capacity(96));
    sql.push_str("PRAGMA key = \"x'");
    for byte in key.expose() {
        // Writing to a string cannot fail.
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("'\";");
    conn.execute_batch(&sql).map_err(fault)
}

/// Opens a connection to an existing file, keyed and set up.
pub(super) fn connect(path: &Path, key: &Secret) -> Result<Connection> {
    start_cipher()?;
    // No URI: a path with a question mark in it is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    conn.busy_timeout(BUSY).map_err(fault)?;
    unlock(&conn, key)?;

    // The first statement that looks into the file, and so at the key.
    let mode: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(|e| match fault(e) {
            e if e.kind() == ErrorKind::Bug => damaged().with_source(e),
            e => e,
        })?;
    if mode != "wal" {
        return Err(meow_core::Error::new(
            ErrorKind::System,
            "the file system under the store does not allow a write-ahead log: use a local disk",
        ));
    }
    conn.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;",
    )
    .map_err(fault)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// The path with something appended to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
