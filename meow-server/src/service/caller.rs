//! Who asks, and how much room the answer has.

use std::sync::Arc;
use std::time::Duration;

use meow_core::transport::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::Hop;

/// Who asks, and how much room the answer has.
#[derive(Debug)]
#[non_exhaustive]
pub struct Caller {
    /// As far as the transport knows.
    pub peer: Peer,
    /// Longest encoding that the answer may have, in bytes.
    pub room: usize,
    pub(crate) seat: Seat,
}

impl Caller {
    pub(crate) fn new(peer: Peer, room: usize, seat: Seat) -> Self {
        Self { peer, room, seat }
    }
}

/// A place among the requests that are worked on, in all and of one address.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    hop: Option<Hop>,
}

impl Seat {
    /// A place if one is free.
    pub(crate) fn take(seats: &Arc<Semaphore>) -> Option<Self> {
        let taken = Arc::clone(seats).try_acquire_owned().ok()?;
        Some(Self { seats: Arc::clone(seats), taken: Some(taken), hop: None })
    }

    /// Counts this request for its address too.
    pub(crate) fn with_hop(self, hop: Option<Hop>) -> Self {
        Self { hop, ..self }
    }

    /// Takes units from the rate of the address, where it has one.
    pub(crate) fn charge(&self, units: u32, now: Duration) -> bool {
        units == 0 || self.hop.as_ref().is_none_or(|hop| hop.charge(units, now))
    }

    /// Gives the place to others while this request only waits.
    pub(crate) fn leave(&mut self) {
        self.taken = None;
        self.hop.iter_mut().for_each(|hop| hop.count(false));
    }

    /// Comes back, in the order of coming.
    ///
    /// # Cancel safety
    /// Cancel-safe; the place in the order is lost.
    pub(crate) async fn retake(&mut self) {
        if self.taken.is_none() {
            // The semaphore is never closed; were it, going on without a seat would be harmless.
            self.taken = Arc::clone(&self.seats).acquire_owned().await.ok();
            self.hop.iter_mut().for_each(|hop| hop.count(true));
        }
    }
}
