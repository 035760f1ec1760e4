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
mod read;
mod readers;
mod schema;
mod sql;
mod tally;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use meow_core::Result;
use meow_core::crypto::Secret;
use meow_core::store::{MailboxStore, Page, Quota, StoreStats, Write, WriteOutcome};
use rusqlite::{Connection, TransactionBehavior};

use self::connection::Role;
pub use self::error::StoreError;
use self::readers::Readers;
use self::sql::Sql;

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
            remember_secs: 86_400,
            remember_max: 1_000_000,
        }
    }
}

/// The mailbox store in one encrypted file (with its write-ahead log beside it).
pub struct SqliteMailboxStore {
    path: PathBuf,
    options: StoreOptions,
    writer: Mutex<Connection>,
    readers: Readers,
    operations: AtomicU64,
}

impl SqliteMailboxStore {
    /// Opens the store, or makes it when there is no file. An older file is migrated; a copy of it is kept
    /// beside it, named after its version. Reads a fixed number of pages, however much is stored (after a
    /// crash also the write-ahead log, which [`StoreOptions::wal_pages`] bounds).
    ///
    /// # Errors
    /// `WrongSecret` when the key is not the one that the file was made with, `Damaged` when the file does not
    /// hold, `NewerVersion` for a file of a newer program (it is left as it is), `System` when the path cannot
    /// be read and written.
    pub fn open(path: &Path, key: &Secret, options: StoreOptions) -> Result<Self> {
        Ok(Self::open_inner(path, key, options)?)
    }

    fn open_inner(path: &Path, key: &Secret, options: StoreOptions) -> Result<Self, StoreError> {
        let mut writer = connection::open(path, key, Role::Writer, &options)?;
        schema::migrate(&mut writer, path, schema::STEPS)?;
        let readers = (0..options.readers.max(1))
            .map(|_| connection::open(path, key, Role::Reader, &options))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path: path.to_owned(),
            options,
            writer: Mutex::new(writer),
            readers: Readers::new(readers),
            operations: AtomicU64::new(0),
        })
    }

    /// Where the store lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many SQL statements this store has run since it was opened. The same request against a mailbox
    /// that exists and one that does not must move this by the same amount; tests assert it.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Runs one transaction on the writer; durable when this returns.
    fn transact<T>(&self, run: impl FnOnce(&Sql<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let txn = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // An early return drops the transaction, which rolls it back.
        let outcome = run(&Sql::new(&txn, &self.operations))?;
        txn.commit()?;
        Ok(outcome)
    }
}

impl std::fmt::Debug for SqliteMailboxStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteMailboxStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl MailboxStore for SqliteMailboxStore {
    fn commit(&self, batch: &[Write], quota: &Quota, now: u64) -> Result<Vec<WriteOutcome>> {
        Ok(self.transact(|sql| write::apply(sql, &self.options, batch, quota, now))?)
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
        Ok(self.readers.with(|c| read::items(&Sql::new(c, &self.operations), mailbox, &limits))?)
    }

    fn blob(
        &self,
        mailbox: &[u8; 32],
        token_hash: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> Result<Option<Vec<u8>>> {
        Ok(self
            .readers
            .with(|c| read::blob(&Sql::new(c, &self.operations), mailbox, token_hash, name, now))?)
    }

    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> Result<()> {
        Ok(self.transact(|sql| write::add_invite(sql, hash, uses, expires))?)
    }

    fn expire(&self, now: u64, limit: usize) -> Result<usize> {
        Ok(self.transact(|sql| expire::sweep(sql, &self.options, now, limit))?)
    }

    fn stats(&self) -> Result<StoreStats> {
        Ok(self.readers.with(|c| read::stats(&Sql::new(c, &self.operations)))?)
    }
}
