//! Opening the file: key, settings, and telling a wrong key from damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meow_core::crypto::Secret;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::{StoreError, StoreOptions, schema, wal};

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// Page size of the encrypted file, in bytes.
const PAGE: u32 = 4096;

/// Given instead of one that is read from the file's first 16 bytes, so that a byte flipped there is no other
/// key. The key is random and of one file, so it needs no salt of its own.
const SALT: &[u8; 16] = b"meow mailboxes 1";

/// What a connection is made from. Keeps the key, since a connection that met a damaged page has to be made
/// anew.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) key: Secret,
    pub(super) options: StoreOptions,
}

impl Source {
    /// Sees to it that there is a file, and that its log holds.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.create(),
            Err(e) => Err(e.into()),
            // SQLite would take it for a new file.
            Ok(file) if file.len() == 0 => Err(StoreError::DamagedPages { bad: 0, all: 0 }),
            Ok(_) => wal::check(&sibling(&self.path, "-wal")),
        }
    }

    /// The log that lies beside the file.
    pub(super) fn log(&self) -> PathBuf {
        sibling(&self.path, "-log")
    }

    /// Opens a connection to the file.
    pub(super) fn connect(&self, role: Role) -> Result<Connection, StoreError> {
        connect(&self.path, &self.key, role, &self.options)
    }

    /// SQLCipher refuses everything on a connection that met one damaged page; a new one still serves the others.
    /// Where that fails too, the old one stays, and the next request tries again.
    pub(super) fn renew_after<T>(
        &self,
        outcome: &Result<T, StoreError>,
        role: Role,
        connection: &mut Connection,
    ) {
        if let Err(error) = outcome
            && error.is_damage()
            && let Ok(fresh) = self.connect(role)
        {
            *connection = fresh;
        }
    }

    /// Makes the file under another name and renames it when it is whole: a file under its own name that is
    /// empty or short is damaged, never new.
    fn create(&self) -> Result<(), StoreError> {
        let log = fs::metadata(self.log()).map_or(0, |log| log.len());
        if log > 0 || sibling(&self.path, "-wal").try_exists()? {
            return Err(StoreError::DamagedLog);
        }
        let partial = sibling(&self.path, ".new");
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
        let mut connection = connect(&partial, &self.key, Role::Writer, &self.options)?;
        schema::migrate(&mut connection, &partial, schema::STEPS)?;
        // Closing folds the log into the file and removes it.
        connection.close().map_err(|(_, e)| e)?;
        fs::File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &self.path)?;
        schema::sync_folder(&self.path)
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLCipher sets itself up with the first key that a process uses, and fails when several threads do so at the
/// same moment: so it is done once, by one. Its OpenSSL must not clean up when the process ends: a thread that still
/// closes a store then would meet freed memory.
fn start_cipher() -> Result<(), StoreError> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        openssl_sys::init();
        let memory = Connection::open_in_memory()?;
        unlock(&memory, &Secret::new([0; 32]))?;
        memory.execute_batch("CREATE TABLE started (at INTEGER)")?;
        *started = true;
    }
    Ok(())
}

fn connect(path: &Path, key: &Secret, role: Role, options: &StoreOptions) -> Result<Connection, StoreError> {
    start_cipher()?;
    let access = match role {
        Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    // Each connection sits behind a mutex of its own, so SQLite needs none.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    unlock(&connection, key)?;
    // Until the key is proven, closing leaves the file and its log as they are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let first = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    match first {
        Err(e) if StoreError::is_bad_page(&e) => return Err(diagnose(&connection, path)?),
        other => other?,
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
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
    // Else it writes each failed page to standard error; the failure comes back as an error anyway.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    let mut text = Zeroizing::new(String::with_capacity(START.len() + 96 + END.len()));
    text.push_str(START);
    for byte in key.expose().iter().chain(SALT) {
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
