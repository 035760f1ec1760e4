//! The relay's embedded mailbox store: one encrypted SQLite file.
//!
//! [`SqliteMailboxStore`] implements [`MailboxStore`] on SQLCipher: every page is encrypted and carries a MAC,
//! so a flipped byte is an error and never an empty mailbox. One connection writes; a commit returns when its
//! batch is synced. A few connections read beside it. Caches are small and fixed, so memory does not grow with
//! what is stored. Why this engine: `docs/decisions/0001-mailbox-store-engine.md`.
//!
//! Not here: who may ask for what (signatures, admission), waiting for items, and when to call
//! [`expire`](MailboxStore::expire).

mod connection;
mod error;
mod expire;
mod fold;
mod overlay;
mod read;
mod readers;
mod schema;
mod sql;
mod tally;
mod txn;
mod wal;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use meow_core::Result;
use meow_core::crypto::Secret;
use meow_core::store::{MailboxStore, Page, Quota, StoreStats, Write, WriteOutcome};
use rusqlite::Connection;

use self::connection::{Role, Source};
pub use self::error::StoreError;
use self::overlay::Overlay;
use self::readers::Readers;
use self::sql::Sql;
use self::txn::Txn;
use self::write::Batch;

/// How the store uses memory and disk. The defaults suit a small board and a busy relay alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Page cache of the writing connection, in KiB.
    pub write_cache_kib: u32,
    /// Page cache of each reading connection, in KiB.
    pub read_cache_kib: u32,
    /// How many connections read beside the writer; at least 1.
    pub readers: usize,
    /// The write-ahead log is folded into the file whenever it holds so many pages of 4 KiB. It bounds the
    /// log's size, and the work of opening after a crash.
    pub wal_pages: u32,
    /// How many appended rows wait in memory for their indexes, at most (one batch more). They are folded in
    /// together: the more, the cheaper each, and the longer the one commit that waits for it.
    pub fold_rows: usize,
    /// For how many seconds the id of a deposit that was acknowledged is remembered, so that the same deposit
    /// again is confirmed without a second copy.
    pub remember_secs: u64,
    /// How many such ids are remembered in all; beyond it the oldest go first.
    pub remember_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            write_cache_kib: 2048,
            read_cache_kib: 512,
            readers: 2,
            wal_pages: 4096,
            fold_rows: 4096,
            remember_secs: 86_400,
            remember_max: 1_000_000,
        }
    }
}

/// The mailbox store in one encrypted file (with its write-ahead log beside it).
pub struct SqliteMailboxStore {
    source: Source,
    // Before the writer: the last connection to close folds the log into the file, and readers cannot.
    readers: Readers,
    writer: Mutex<Writer>,
    overlay: RwLock<Overlay>,
    operations: AtomicU64,
}

struct Writer {
    connection: Connection,
    /// Of the totals that the overlay belongs to.
    generation: i64,
    /// The newest time of day that a caller told.
    now: u64,
}

impl SqliteMailboxStore {
    /// Opens the store, or makes it when there is no file. An older file is migrated; a copy of it is kept
    /// beside it, named after its version. Reads a fixed number of pages, however much is stored (after a
    /// crash also what [`StoreOptions::wal_pages`] and [`StoreOptions::fold_rows`] bound).
    ///
    /// # Errors
    /// `WrongSecret` when the key is not the one that the file was made with, `Damaged` when the file does not
    /// hold, `NewerVersion` for a file of a newer program (it is left as it is), `System` when the path cannot
    /// be read and written.
    pub fn open(path: &Path, key: &Secret, options: StoreOptions) -> Result<Self> {
        let source = Source { path: path.to_owned(), key: key.clone(), options };
        Ok(Self::open_source(source)?)
    }

    fn open_source(source: Source) -> Result<Self, StoreError> {
        source.prepare()?;
        let mut connection = source.connect(Role::Writer)?;
        schema::migrate(&mut connection, &source.path, schema::STEPS)?;
        let store = Self {
            readers: Readers::open(&source)?,
            writer: Mutex::new(Writer { connection, generation: -1, now: 0 }),
            overlay: RwLock::default(),
            operations: AtomicU64::new(0),
            source,
        };
        // Loads the overlay, and shows that the file can be written.
        store.transact(0, |_| Ok(()))?;
        Ok(store)
    }

    /// Where the store lies.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// How many SQL statements this store has run since it was opened. The same request against a mailbox
    /// that exists and one that does not must move this by the same amount; tests assert it.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Runs one transaction on the writer; durable when this returns.
    fn transact<T>(
        &self,
        now: u64,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Writer { connection, generation, now: newest } = &mut *writer;
        *newest = now.max(*newest);
        let outcome = txn::run(connection, &self.operations, &self.overlay, generation, work);
        self.source.renew_after(&outcome, Role::Writer, connection);
        outcome
    }

    /// Runs on a reading connection.
    fn read<T>(&self, work: impl FnOnce(&Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.readers.with(&self.source, |connection| {
            let sql = Sql::new(connection, &self.operations);
            let outcome = work(&sql)?;
            // A page of a long row whose MAC does not hold comes back as zeros, without an error; only from then
            // on does the connection fail. So what was read holds when one more read succeeds.
            sql.one("SELECT 1 FROM totals", [], |_| Ok(()))?;
            Ok(outcome)
        })
    }
}

impl Drop for SqliteMailboxStore {
    /// Folds, so that the next opening finds nothing to catch up with. A failure loses nothing: the next
    /// opening catches up.
    fn drop(&mut self) {
        let now = self.writer.lock().unwrap_or_else(PoisonError::into_inner).now;
        if now > 0
            && let Err(error) = self.transact(now, |txn| txn.fold_from(1, &self.source.options, now))
        {
            tracing::warn!(%error, "the mailbox store could not be folded at its end; the next start does it");
        }
    }
}

impl std::fmt::Debug for SqliteMailboxStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteMailboxStore").field("options", &self.source.options).finish_non_exhaustive()
    }
}

impl MailboxStore for SqliteMailboxStore {
    fn commit(&self, batch: &[Write], quota: &Quota, now: u64) -> Result<Vec<WriteOutcome>> {
        let options = &self.source.options;
        Ok(self.transact(now, |txn| {
            txn.fold_from(options.fold_rows, options, now)?;
            Batch { txn, quota, now }.apply(batch)
        })?)
    }

    fn items(
        &self,
        mailbox: &[u8; 32],
        after: u64,
        max_items: usize,
        max_bytes: usize,
        per_item: usize,
        now: u64,
    ) -> Result<Page> {
        let limits = read::Limits { after, max_items, max_bytes, per_item, now };
        Ok(self.read(|sql| read::items(sql, &self.overlay, mailbox, &limits))?)
    }

    fn blob(
        &self,
        mailbox: &[u8; 32],
        token_hash: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> Result<Option<Vec<u8>>> {
        Ok(self.read(|sql| read::blob(sql, mailbox, token_hash, name, now))?)
    }

    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> Result<()> {
        Ok(self.transact(0, |txn| write::add_invite(&txn.sql, hash, uses, expires))?)
    }

    fn expire(&self, now: u64, limit: usize) -> Result<usize> {
        let options = &self.source.options;
        Ok(self.transact(now, |txn| {
            txn.fold_from(1, options, now)?;
            expire::sweep(&txn.sql, options, &mut txn.totals, now, limit)
        })?)
    }

    fn stats(&self) -> Result<StoreStats> {
        Ok(self.read(read::stats)?)
    }
}
