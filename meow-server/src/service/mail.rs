//! What services may do: read and write the store, hold pulls, look at the limits.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::request::Answer;
use meow_core::store::{MailboxStore, Page, Write, WriteOutcome};
use meow_core::transport::Peer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{BUSY_RETRY, Caller, FAILED_RETRY, busy};
use crate::engine::{Held, HeldPulls, Place, WriteError, Writer};
use crate::steady::SteadyTime;
use crate::{Admission, RelayLimits};

/// The relay's mail, as services see it. Methods that can fail give the refusal to answer with.
pub struct Mail {
    pub(crate) server: [u8; 32],
    pub(crate) limits: Arc<RelayLimits>,
    pub(crate) admission: Admission,
    pub(crate) time: SteadyTime,
    pub(crate) store: Arc<dyn MailboxStore>,
    pub(crate) writer: Writer,
    pub(crate) reading: Semaphore,
    pub(crate) held: Arc<HeldPulls>,
    pub(crate) stopping: CancellationToken,
}

impl Mail {
    /// The fingerprint of this server, which signatures name.
    pub fn server(&self) -> &[u8; 32] {
        &self.server
    }

    /// What this relay allows.
    pub fn limits(&self) -> &RelayLimits {
        &self.limits
    }

    /// The relay's time in Unix seconds, by which mail expires. It goes on evenly when the wall clock jumps.
    pub fn now(&self) -> u64 {
        self.time.now()
    }

    /// The relay's time when it is this moment by the wall clock, in Unix seconds; not before now.
    pub fn at_wall(&self, moment: u64) -> u64 {
        self.now().saturating_add(moment.saturating_sub(self.time.shown()))
    }

    /// Whether this asker may open a mailbox without an invitation.
    pub fn admits(&self, peer: &Peer) -> bool {
        self.admission.admits(peer)
    }

    /// Applies one write. When this gives an outcome, it is durable.
    ///
    /// # Errors
    /// The refusal to answer with; nothing was written.
    ///
    /// # Cancel safety
    /// A write whose future is dropped may still be applied.
    pub async fn write(&self, write: Write) -> Result<WriteOutcome, Answer> {
        self.writer.write(write, self.now()).await.map_err(|e| match e {
            WriteError::Full | WriteError::Stopped => busy(BUSY_RETRY),
            WriteError::Failed => busy(FAILED_RETRY),
        })
    }

    /// The first items of a mailbox, at most `max_items`, and at most `max_bytes` when each costs its length and
    /// `per_item` more. Empty for a mailbox that does not exist.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn items(
        &self,
        mailbox: [u8; 32],
        max_items: usize,
        max_bytes: usize,
        per_item: usize,
    ) -> Result<Page, Answer> {
        let now = self.now();
        self.read(move |store| store.items(&mailbox, 0, max_items, max_bytes, per_item, now)).await
    }

    /// A parked blob, if the token matches.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn blob(
        &self,
        mailbox: [u8; 32],
        token_hash: [u8; 32],
        name: [u8; 16],
    ) -> Result<Option<Vec<u8>>, Answer> {
        let now = self.now();
        self.read(move |store| store.blob(&mailbox, &token_hash, &name, now)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn MailboxStore) -> Result<T> + Send + 'static,
    ) -> Result<T, Answer> {
        // Never closed.
        let _turn = self.reading.acquire().await.map_err(|_| busy(BUSY_RETRY))?;
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || read(&*store)).await;
        done.map_err(|_| busy(BUSY_RETRY))?.map_err(|e| {
            tracing::error!(kind = e.kind().name(), "the store cannot read: {e}");
            busy(FAILED_RETRY)
        })
    }

    /// Reserves a place among the held pulls.
    ///
    /// # Errors
    /// The refusal to answer with, when all places are taken.
    pub fn reserve(&self) -> Result<HeldPlace, Answer> {
        self.held.reserve().map(HeldPlace).ok_or_else(|| busy(BUSY_RETRY))
    }

    /// Holds a pull of this mailbox. Deposits that become durable from now on end its waiting. A mailbox has a few
    /// places; beyond them its oldest pull ends, so a request must be known to be its owner's, and new, before.
    pub fn hold(&self, place: HeldPlace, mailbox: [u8; 32]) -> HeldPull {
        HeldPull(self.held.hold(place.0, mailbox))
    }

    /// Waits until mail comes, the time is over, the relay stops, or a newer pull of the same mailbox takes the place.
    /// While it waits, the caller does not count among those that are worked for.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn wait(&self, held: HeldPull, caller: &mut Caller, time: Duration) {
        self.wait_for(held.0.woken(), caller, time).await;
        drop(held);
    }

    /// Waits until something is over, the time is, or the relay stops. While it waits, the caller does not count among
    /// those that are worked for.
    ///
    /// # Cancel safety
    /// Cancel-safe if `over` is.
    pub async fn wait_for(&self, over: impl Future<Output = ()>, caller: &mut Caller, time: Duration) {
        caller.seat.leave();
        tokio::select! {
            () = over => {}
            () = tokio::time::sleep(time) => {}
            () = self.stopping.cancelled() => {}
        }
        caller.seat.retake().await;
    }
}

/// A place among the held pulls; freed when dropped.
#[derive(Debug)]
pub struct HeldPlace(Place);

/// A held pull; its place is freed when it is dropped.
#[derive(Debug)]
pub struct HeldPull(Held);
