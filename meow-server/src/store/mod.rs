//! The relay's embedded mailbox store: one encrypted SQLite file, and a log before it.
//!
//! [`SqliteMailboxStore`] implements [`MailboxStore`] on SQLCipher: every page is encrypted and carries a MAC,
//! so a flipped byte is an error and never an empty mailbox. Deposits and acknowledgements are appended to an encrypted log first;
//! a commit returns when its batch is synced there. One connection writes, a few read beside it. Caches are small and fixed, so
//! memory does not grow with what is stored. Why so: `docs/decisions/0001-mailbox-store-engine.md`, `0015-log-before-the-store.md`.
//!
//! Not here: who may ask for what (signatures, admission), waiting for items, and when to call
//! [`expire`](MailboxStore::expire).

mod connection;
mod error;
mod expire;
mod fold;
mod guest;
mod known;
mod log;
mod overlay;
mod read;
mod readers;
mod schema;
mod sql;
mod tally;
mod txn;
mod wal;
mod write;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use meow_core::Result;
use meow_core::crypto::Secret;
use meow_core::store::{MailboxStore, Page, Quota, StoreStats, Write, WriteOutcome};
use rusqlite::{Connection, TransactionBehavior};

use self::connection::{Role, Source};
pub use self::error::StoreError;
use self::guest::Guest;
use self::known::Known;
use self::log::{Claim, Log, Row};
use self::overlay::Overlay;
use self::readers::Readers;
use self::sql::Sql;
use self::tally::Totals;
use self::writer::{Shared, Writer};

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
    /// How many records the log before the tables holds, at most (one batch more); a mailbox that has any counts as five. Each
    /// takes some 100 bytes of memory. What is fetched while it is there never goes into the tables.
    pub fold_rows: usize,
    /// Longest log before the tables, in bytes; from 128 KiB to 2 GiB. It has eight segments, and the oldest is folded when none
    /// is free, or it has an eighth of `fold_rows`: the more, the cheaper each record, and the longer the one commit that waits.
    pub log_bytes: u64,
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
            fold_rows: 30_720,
            log_bytes: 64 << 20,
            remember_secs: 86_400,
            remember_max: 1_000_000,
        }
    }
}

/// The mailbox store in one encrypted file (with its logs beside it).
pub struct SqliteMailboxStore {
    source: Source,
    // Before the writer: the last connection to close folds SQLite's log into the file, and readers cannot.
    readers: Readers,
    hold: Hold,
    overlay: RwLock<Overlay>,
    operations: AtomicU64,
}

/// Who writes the log.
enum Hold {
    Ours(Box<Mutex<Writer>>),
    /// Another process.
    Theirs(Mutex<Guest>),
}

impl SqliteMailboxStore {
    /// Opens the store, or makes it when there is no file. An older file is migrated; a copy of it is kept
    /// beside it, named after its version. Reads a fixed number of pages, however much is stored (after a
    /// crash also what [`StoreOptions::wal_pages`], [`StoreOptions::log_bytes`] and [`StoreOptions::fold_rows`] bound).
    /// Waits some seconds for another process that has the store, and blocks meanwhile.
    ///
    /// # Errors
    /// `WrongSecret` when the key is not the one that the file was made with, `Damaged` when the file does not
    /// hold, `NewerVersion` for a file of a newer program (it is left as it is), `System` when the path cannot
    /// be read and written, or another process keeps the store.
    pub fn open(path: &Path, key: &Secret, options: StoreOptions) -> Result<Self> {
        let source = Source { path: path.to_owned(), key: key.clone(), options };
        Ok(Self::open_source(source, true)?)
    }

    /// As [`open`](Self::open), but beside a process that has the store this one gives what [`stats`](MailboxStore::stats) and
    /// [`add_invite`](MailboxStore::add_invite) need; all else is refused, as in use.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_beside(path: &Path, key: &Secret, options: StoreOptions) -> Result<Self> {
        let source = Source { path: path.to_owned(), key: key.clone(), options };
        Ok(Self::open_source(source, false)?)
    }

    fn open_source(source: Source, patient: bool) -> Result<Self, StoreError> {
        source.prepare()?;
        let operations = AtomicU64::new(0);
        let mut overlay = Overlay::default();
        let hold = match Log::claim(&source.log(), &source.key, source.options.log_bytes, patient)? {
            Claim::Ours(log) => {
                let mut connection = source.connect(Role::Writer)?;
                schema::migrate(&mut connection, &source.path, schema::STEPS)?;
                // Shows that the file can be written.
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let sql = Sql::new(&transaction, &operations);
                let mut totals = Totals::load(&sql)?;
                let segments = log.reopen(&source.key, Row::load(&sql)?, totals.generation)?;
                overlay = Overlay::replay(&sql, segments, false, &mut totals)?;
                drop(transaction);
                Hold::Ours(Box::new(Mutex::new(Writer {
                    connection,
                    log,
                    known: Known::new(),
                    totals,
                    now: 0,
                })))
            }
            Claim::Theirs(log) => Hold::Theirs(Mutex::new(Guest::open(&source, log)?)),
        };
        let readers = Readers::open(&source)?;
        Ok(Self { source, readers, hold, overlay: RwLock::new(overlay), operations })
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

    /// Lends the writer to what changes the store.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Writer, Shared<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Hold::Ours(writer) = &self.hold else { return Err(StoreError::InUse) };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = Shared { source: &self.source, overlay: &self.overlay, operations: &self.operations };
        let outcome = work(&mut writer, shared);
        self.source.renew_after(&outcome, Role::Writer, &mut writer.connection);
        outcome
    }

    /// Runs on a reading connection. What is pending stays so meanwhile.
    fn read<T>(
        &self,
        work: impl FnOnce(&Sql<'_>, &Overlay) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if matches!(self.hold, Hold::Theirs(_)) {
            return Err(StoreError::InUse);
        }
        self.readers.with(&self.source, |connection| {
            let sql = Sql::new(connection, &self.operations);
            let outcome = work(&sql, &writer::read(&self.overlay))?;
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
        let rested = self.write(|writer, shared| {
            // Without the time of day, nothing was written.
            if writer.now > 0 { writer.rest(shared) } else { Ok(()) }
        });
        if let Err(error) = rested
            && !matches!(error, StoreError::InUse)
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
        Ok(self.write(|writer, shared| writer.commit(shared, batch, quota, now))?)
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
        Ok(self.read(|sql, overlay| read::items(sql, overlay, mailbox, &limits))?)
    }

    fn blob(
        &self,
        mailbox: &[u8; 32],
        token_hash: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> Result<Option<Vec<u8>>> {
        Ok(self.read(|sql, _| read::blob(sql, mailbox, token_hash, name, now))?)
    }

    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> Result<()> {
        let add = |connection: &Connection| {
            write::add_invite(&Sql::new(connection, &self.operations), hash, uses, expires)
        };
        let added = match &self.hold {
            Hold::Ours(_) => self.write(|writer, _| add(&writer.connection)),
            Hold::Theirs(guest) => {
                guest.lock().unwrap_or_else(PoisonError::into_inner).with(&self.source, add)
            }
        };
        Ok(added?)
    }

    fn expire(&self, now: u64, limit: usize) -> Result<usize> {
        Ok(self.write(|writer, shared| writer.expire(shared, now, limit))?)
    }

    fn stats(&self) -> Result<StoreStats> {
        Ok(match &self.hold {
            // One read shows whether the tables hold.
            Hold::Ours(_) => self.read(|_, overlay| Ok(overlay.stats))?,
            Hold::Theirs(guest) => {
                let guest = guest.lock().unwrap_or_else(PoisonError::into_inner);
                guest.stats(&self.source, &self.operations)?
            }
        })
    }
}
