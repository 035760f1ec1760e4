//! What this process does not hear of by itself: other processes on the same store, and servers that have gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, Result};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::client::{Client, Inner};
use crate::cover::PLANS;
use crate::records::{load, next_number};

/// How often the store is looked at for what other processes put there.
const GLANCE: Duration = Duration::from_secs(3);

/// Counts changes of the set of mailboxes, and of policies.
const MAILBOXES: &[u8] = b"mailboxes";
/// Counts entries of the outbox.
pub(crate) const OUTBOX: &[u8] = b"outbox";

/// Notes that mailboxes were added or taken away, or that a policy has changed: all who run on this store learn of it.
pub(crate) fn mailboxes_changed(txn: &mut dyn StoreTxn) -> Result<()> {
    next_number(txn, MAILBOXES).map(|_| ())
}

impl Inner {
    /// Wakes the other loops when another process has queued something, or changed the set of mailboxes, a policy or
    /// cover traffic.
    pub(crate) async fn glance_loop(self: &Arc<Self>) -> Result<()> {
        // At first both count as changed: something may have come before this loop began.
        let mut known = (None, None, None);
        loop {
            sleep(GLANCE).await;
            let now = self
                .read(|txn| {
                    let count = |name| load::<u64>(txn, Table::Meta, name);
                    Ok((count(MAILBOXES)?, count(OUTBOX)?, count(PLANS)?))
                })
                .await?;
            if now.0 != known.0 {
                self.mailboxes.notify_waiters();
            }
            if now.1 != known.1 {
                self.outbox.notify_one();
            }
            if now.2 != known.2 {
                self.cover.notify_one();
            }
            known = now;
        }
    }
}

/// What keeps [`run`](Client::run) from fetching.
#[derive(Default)]
pub(crate) struct Trouble {
    /// Mailboxes that cannot be fetched from now.
    failing: AtomicUsize,
    first: Mutex<Option<Error>>,
    began: Notify,
}

impl Trouble {
    /// Counts a mailbox as failing as long as the value lives.
    pub(crate) fn begin(&self, why: Error) -> Failing<'_> {
        if self.failing.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            self.began.notify_one();
        }
        Failing(self)
    }
}

/// A mailbox that cannot be fetched from.
pub(crate) struct Failing<'a>(&'a Trouble);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.failing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    /// Waits until [`run`](Self::run) cannot fetch from a mailbox any more, after it could from all, and says why. It
    /// tries on by itself: this is for telling the user.
    ///
    /// # Cancel safety
    /// Cancel-safe. Only one of several that wait is told.
    pub async fn trouble(&self) -> Error {
        loop {
            self.inner.trouble.began.notified().await;
            if let Some(why) = self.inner.trouble.first.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                return why;
            }
        }
    }
}
