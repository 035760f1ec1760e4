//! Opening the file: key, settings, and telling a wrong key from damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meow_core::crypto::Secret;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use super::{StoreError, StoreOptions, schema};

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// Page size of the encrypted file, in bytes.
const PAGE: u32 = 4096;

/// Opens a connection to the file, which is made first when there is none.
pub(super) fn open(
    path: &Path,
    key: &Secret,
    role: Role,
    options: &StoreOptions,
) -> Result<Connection, StoreError> {
    if role == Role::Writer {
        match fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => create(path, key, options)?,
            // SQLite would take it for a new file.
            Ok(file) if file.len() == 0 => return Err(StoreError::DamagedPages { bad: 0, all: 0 }),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
    }
    connect(path, key, role, options)
}

/// Makes the file under another name and renames it when it is whole: a file under its own name that is
/// empty or short is damaged, never new.
fn create(path: &Path, key: &Secret, options: &StoreOptions) -> Result<(), StoreError> {
    if sibling(path, "-wal").try_exists()? {
        return Err(StoreError::DamagedLog);
    }
    let partial = sibling(path, ".new");
    for left in [partial.clone(), sibling(&partial, "-wal"), sibling(&partial, "-shm")] {
        if left.try_exists()? {
            fs::remove_file(left)?;
        }
    }
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    drop(file.open(&partial)?);
    let mut connection = connect(&partial, key, Role::Writer, options)?;
    schema::migrate(&mut connection, &partial, schema::STEPS)?;
    // Closing folds the log into the file and removes it.
    connection.close().map_err(|(_, e)| e)?;
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, path)?;
    schema::sync_folder(path)
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn connect(path: &Path, key: &Secret, role: Role, options: &StoreOptions) -> Result<Connection, StoreError> {
    let access = match role {
        Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    // Each connection sits behind a mutex of its own, so SQLite needs none.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    unlock(&connection, key)?;
    let first = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    match first {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(diagnose(&connection, path)?);
        }
        other => other?,
    };
    if role == Role::Writer {
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::NoLog);
        }
    }
    settings(&connection, role, options)?;
    Ok(connection)
}

/// Hands over the key. The text that holds it is wiped here; SQLCipher wipes its own copies.
fn unlock(connection: &Connection, key: &Secret) -> Result<(), StoreError> {
    const START: &str = "PRAGMA key = \"x'";
    const END: &str = "'\"";
    let mut text = Zeroizing::new(String::with_capacity(START.len() + 64 + END.len()));
    text.push_str(START);
    for byte in key.expose() {
        // Digit by digit into the space reserved above: no copy is left behind.
        text.extend(
            [byte >> 4, byte & 15].map(|d| char::from(if d < 10 { b'0' + d } else { b'a' + d - 10 })),
        );
    }
    text.push_str(END);
    connection.execute_batch(&text)?;
    // SQLCipher reads these before it touches the file.
    connection.execute_batch(&format!(
        "PRAGMA cipher_page_size = {PAGE}; PRAGMA cipher_hmac_algorithm = HMAC_SHA256;"
    ))?;
    Ok(())
}

fn settings(connection: &Connection, role: Role, options: &StoreOptions) -> Result<(), StoreError> {
    let cache = match role {
        Role::Writer => options.write_cache_kib,
        Role::Reader => options.read_cache_kib,
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(48);
    // A negative cache size is in KiB. The log's file is kept for the next round: writing into a file that
    // has its length syncs faster than one that grows.
    connection.execute_batch(&format!(
        "PRAGMA cache_size = -{cache};
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA journal_size_limit = {limit};
         PRAGMA wal_autocheckpoint = {pages};",
        limit = u64::from(options.wal_pages) * u64::from(PAGE + 24) * 2,
        pages = options.wal_pages,
    ))?;
    Ok(())
}

/// The first page did not verify: by a wrong key no page does, in a damaged file the others do.
fn diagnose(connection: &Connection, path: &Path) -> Result<StoreError, StoreError> {
    let all = fs::metadata(path)?.len() / u64::from(PAGE);
    let mut bad = 0u64;
    let mut check = connection.prepare("PRAGMA cipher_integrity_check")?;
    let mut rows = check.query([])?;
    while rows.next()?.is_some() {
        bad = bad.saturating_add(1);
    }
    Ok(if all > 0 && bad >= all { StoreError::WrongKey } else { StoreError::DamagedPages { bad, all } })
}
