//! The handle that applications hold, and what it shares.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use meow_core::identity::ContactId;
use meow_core::store::{ClientStore, StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::counted::Counted;
use crate::direct::Direct;
use crate::event::{Event, EventKind};
use crate::hearing::Hearing;
use crate::keys::KeyVault;
use crate::others::Trouble;
use crate::random::SharedRandom;
use crate::records::{next_number, save};
use crate::route::Directory;
use crate::server::Servers;
use crate::sessions::Sessions;

/// A Meow client on one store. Cheap to clone; all clones are the same client. No global state: an
/// application can hold several.
///
/// Nothing happens by itself: drive it with [`run`](Client::run) in a task of yours, or step by step with
/// [`sync`](Client::sync).
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn ClientStore>,
    pub(crate) keys: KeyVault,
    pub(crate) servers: Arc<Servers>,
    pub(crate) direct: Direct,
    /// What servers say of themselves that chains can lead through.
    pub(crate) directory: Mutex<Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: SharedRandom,
    /// Something was put into the outbox.
    pub(crate) outbox: Notify,
    /// The set of mailboxes changed.
    pub(crate) mailboxes: Notify,
    /// When what cover traffic sends is to leave changed.
    pub(crate) cover: Notify,
    /// Running polls are to start over. Each that listens sees a notice, whatever it does meanwhile.
    pub(crate) network: watch::Sender<()>,
    /// Highest event number known to this process.
    pub(crate) events: watch::Sender<u64>,
    pub(crate) suspended: watch::Sender<bool>,
    pub(crate) trouble: Trouble,
    /// Contacts whose server has shown in this process that the store is not an old copy.
    pub(crate) fresh: Mutex<HashSet<ContactId>>,
    pub(crate) counted: Counted,
    pub(crate) hearing: Hearing,
    /// How long a server of one's own may be silent before another takes its place, in milliseconds.
    pub(crate) refill_after_ms: u64,
    pub(crate) sessions: Sessions,
}

impl Client {
    /// Reads everything that the store holds and checks it. Takes time in proportion to the store.
    ///
    /// # Errors
    /// `Damaged` if anything does not hold, `System` for I/O.
    pub async fn verify_store(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.store.verify()).await
    }
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn is_fresh(&self, contact: &ContactId) -> bool {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).contains(contact)
    }

    pub(crate) fn set_fresh(&self, contact: ContactId) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(contact);
    }

    pub(crate) fn unset_fresh(&self, contact: &ContactId) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(contact);
    }

    /// Runs a read transaction on a blocking thread.
    pub(crate) async fn read<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn StoreTxn) -> Result<T> + Send + 'static,
    {
        let inner = Arc::clone(self);
        blocking(move || {
            let (mut work, mut out) = (Some(work), None);
            inner.store.read(&mut |txn| {
                let work = work.take().ok_or_else(run_twice)?;
                out = Some(work(txn)?);
                Ok(())
            })?;
            out.ok_or_else(run_twice)
        })
        .await
    }

    /// Runs a write transaction on a blocking thread. What it gives is durable when this returns.
    pub(crate) async fn write<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn StoreTxn, &Self) -> Result<T> + Send + 'static,
    {
        let inner = Arc::clone(self);
        blocking(move || {
            let (mut work, mut out) = (Some(work), None);
            inner.store.write(&mut |txn| {
                let work = work.take().ok_or_else(run_twice)?;
                out = Some(work(txn, &inner)?);
                Ok(())
            })?;
            inner.announce();
            out.ok_or_else(run_twice)
        })
        .await
    }

    /// Adds an event to the transaction; waiters learn of it after the commit.
    pub(crate) fn emit(&self, txn: &mut dyn StoreTxn, contact: &str, kind: EventKind) -> Result<()> {
        let number = next_number(txn, b"event")?;
        let event = Event { number, at_ms: self.now_ms(), contact: contact.to_owned(), kind };
        save(txn, Table::Events, &number.to_be_bytes(), &event)
    }

    /// Wakes whoever waits for events.
    fn announce(&self) {
        self.events.send_modify(|n| *n = n.wrapping_add(1));
    }
}

fn run_twice() -> Error {
    Error::new(ErrorKind::Bug, "a store ran a transaction other than once; its implementation must be mended")
}

/// Runs blocking work without holding up the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorKind::Bug, "a store task ended before its time").with_source(e))?
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(..)")
    }
}
