//! Links that wait for an answer, by the name that only their sender and this relay know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::onion::ReplySlot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The links that wait.
#[derive(Debug)]
pub(crate) struct Held {
    places: Arc<Semaphore>,
    waiting: Mutex<HashMap<ReplySlot, oneshot::Sender<Vec<u8>>>>,
}

impl Held {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(most)), waiting: Mutex::default() })
    }

    /// A place to wait in, if one is free.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits under a name from now on. `None` when another link waits under it.
    pub(crate) fn wait(self: &Arc<Self>, slot: ReplySlot, place: OwnedSemaphorePermit) -> Option<Waiting> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.contains_key(&slot) {
            return None;
        }
        waiting.insert(slot, sender);
        Some(Waiting { held: Arc::clone(self), slot, answer, _place: place })
    }

    /// Hands an answer to the link of this name; false where none waits.
    pub(crate) fn answer(&self, slot: ReplySlot, packet: Vec<u8>) -> bool {
        self.waiting().remove(&slot).is_some_and(|sender| sender.send(packet).is_ok())
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ReplySlot, oneshot::Sender<Vec<u8>>>> {
        // Every change is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link that waits. Dropped, it waits no more.
#[derive(Debug)]
pub(crate) struct Waiting {
    held: Arc<Held>,
    slot: ReplySlot,
    answer: oneshot::Receiver<Vec<u8>>,
    _place: OwnedSemaphorePermit,
}

impl Waiting {
    /// The answer.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn answer(&mut self) -> Option<Vec<u8>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.held.waiting().remove(&self.slot);
    }
}
