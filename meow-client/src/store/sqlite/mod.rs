//! A client store in one encrypted SQLite file (SQLCipher), with full-text search.
//!
//! Beside `store.db` lies `store.db.id`: the format's number and a commitment to the key, in clear, so that
//! a wrong key and a damaged file are told apart. While the store is open, SQLite keeps `store.db-wal` and
//! `store.db-shm`; they belong to it.

mod connect;
mod fault;
mod header;
mod journal;
mod opened;
mod schema;
mod search;
mod txn;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meow_core::crypto::Secret;
use meow_core::store::{ClientStore, StoreTxn};
use meow_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, TransactionBehavior};

use self::fault::fault;
use self::header::Header;
use self::opened::Opened;
use self::txn::SqliteTxn;
use crate::files;

/// Open connections kept for the next call; each costs up to 2 MiB of page cache.
const IDLE: usize = 4;

/// A [`ClientStore`] in one encrypted file. Several processes may hold the same file.
///
/// Every page is encrypted and authenticated under the key (SQLCipher 4: AES-256-CBC, HMAC-SHA512, the page's
/// number included), so a changed byte is an error of kind `Damaged`. What a write returns `Ok` for is on disk
/// (write-ahead log, synced at each commit). Deleted entries are overwritten.
///
/// Not detected: the whole file replaced by an older copy of itself; the engine notices that by the counters
/// of its servers.
///
/// `work` handed to [`ClientStore::read`] or [`ClientStore::write`] must not call `write` of the same store:
/// it would wait for itself.
pub struct SqliteClientStore {
    path: PathBuf,
    key: Secret,
    /// Lines up the writers of this process; SQLite's own lock does it between processes, by polling.
    writer: Mutex<()>,
    idle: Mutex<Vec<Connection>>,
    /// Last, so that it goes after the connections.
    _opened: Opened,
}

impl SqliteClientStore {
    /// Makes a new, empty store at this path, readable by its owner only. Callers see to it that two of them
    /// do not create the same one ([`crate::home::Home`] does).
    ///
    /// # Errors
    /// `AlreadyUsed` if there is a file of this name, or one that SQLite left beside it; `System` for I/O.
    pub fn create(path: &Path, key: &Secret) -> Result<Self> {
        for taken in [path.to_owned(), connect::beside(path, "-wal")] {
            if files::exists(&taken)? {
                return Err(Error::new(
                    ErrorKind::AlreadyUsed,
                    "there is a store here already: open it, or choose another folder",
                ));
            }
        }
        // Built under another name, so that a store that exists is a whole one.
        let unfinished = connect::beside(path, ".new");
        for rest in ["", "-wal", "-shm", "-journal"] {
            files::remove_if_there(&connect::beside(&unfinished, rest))?;
        }
        files::create_private(&unfinished)?;
        let mut conn = connect::connect(&unfinished, key)?;
        schema::migrate(&mut conn, None, schema::STEPS)?;
        conn.close().map_err(|(_, e)| fault(e))?;
        Header::of(key).save(path)?;
        files::rename_durably(&unfinished, path)?;
        Self::open(path, key)
    }

    /// Opens a store, migrating it when it is of an older version. A copy of the older version is then kept
    /// beside it (`store.db.v1`, encrypted like the store) until the next migration replaces it.
    ///
    /// # Errors
    /// `NotFound` if there is none, `WrongSecret` for another key than it was made with, `NewerVersion` if a
    /// newer program has written it, `Damaged` for bytes that do not hold (the files are left as they are),
    /// `System` for I/O: disk full, read-only, no permission.
    pub fn open(path: &Path, key: &Secret) -> Result<Self> {
        match files::length(path)? {
            None => return Err(Error::new(ErrorKind::NotFound, "there is no store here: create one first")),
            // SQLite would take an empty file for a new store.
            Some(length) if length < connect::PAGE => return Err(fault::damaged()),
            Some(_) => (),
        }
        let trusted = Header::check(path, key)?;
        let opened = Opened::new(path)?;
        let mut conn = connect::connect(path, key)?;
        schema::migrate(&mut conn, Some(path), schema::STEPS)?;
        if !trusted {
            // The pages verified under this key, so the header can be written again.
            tracing::warn!("the store's header was missing or damaged and is written anew");
            Header::of(key).save(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            key: key.clone(),
            writer: Mutex::new(()),
            idle: Mutex::new(vec![conn]),
            _opened: opened,
        })
    }

    /// Reads and verifies every page and the search index. Takes time in proportion to the file.
    ///
    /// # Errors
    /// `Damaged` if anything does not hold, `System` for I/O.
    pub fn verify(&self) -> Result<()> {
        self.with_connection(|conn| schema::verify(conn))
    }

    /// Runs `work` on an idle connection or a new one, which is kept only when nothing went wrong: a page that
    /// did not verify leaves a connection unusable.
    fn with_connection<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle).pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => connect::connect(&self.path, &self.key)?,
        };
        let done = work(&mut conn)?;
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(conn);
        }
        Ok(done)
    }
}

impl ClientStore for SqliteClientStore {
    fn read(&self, work: &mut dyn FnMut(&dyn StoreTxn) -> Result<()>) -> Result<()> {
        self.with_connection(|conn| {
            let txn = conn.transaction_with_behavior(TransactionBehavior::Deferred).map_err(fault)?;
            let view = SqliteTxn::new(&txn, false)?;
            work(&view)?;
            view.finish()?;
            txn.rollback().map_err(fault)
        })
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn StoreTxn) -> Result<()>) -> Result<()> {
        let _alone = lock(&self.writer);
        self.with_connection(|conn| {
            let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
            let mut view = SqliteTxn::new(&txn, true)?;
            work(&mut view)?;
            view.finish()?;
            txn.commit().map_err(fault)
        })
    }

    fn verify(&self) -> Result<()> {
        self.verify()
    }
}

impl std::fmt::Debug for SqliteClientStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteClientStore").finish_non_exhaustive()
    }
}

/// What a panic in a caller's `work` interrupted was rolled back, so the data behind the lock is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
