//! Links that wait for an answer, by the name that only their sender and this relay know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::onion::ReplySlot;
use tokio::sync::oneshot;

use crate::engine::{Budget, Room, Source};

/// The links that wait.
#[derive(Debug)]
pub(crate) struct Held {
    places: Arc<Budget>,
    waiting: Mutex<HashMap<ReplySlot, oneshot::Sender<Vec<u8>>>>,
}

impl Held {
    pub(crate) fn new(most: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { places: Budget::new(most, per_source, 1), waiting: Mutex::default() })
    }

    /// A place to wait in, if one is free for this source.
    pub(crate) fn place(&self, source: Source) -> Option<Room> {
        self.places.take(source, 1)
    }

    /// Waits under a name from now on. `None` when another link waits under it.
    pub(crate) fn wait(self: &Arc<Self>, slot: ReplySlot, place: Room) -> Option<Waiting> {
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
    _place: Room,
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
