//! Who asks, and how much room the answer has.

use std::sync::Arc;
use std::time::Duration;

use meow_core::crypto::VerifyKey;
use meow_core::request::Answer;
use meow_core::store::{PullOutcome, Write, WriteOutcome};
use meow_core::transport::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Mail;
use crate::engine::Hop;
use crate::session::Turn;

/// Who asks, and how much room the answer has.
#[derive(Debug)]
#[non_exhaustive]
pub struct Caller {
    /// As far as the transport knows.
    pub peer: Peer,
    /// Longest encoding that the answer may have, in bytes.
    pub room: usize,
    pub(crate) seat: Seat,
    pub(crate) proved: Option<Proved>,
}

/// What a session has proved of a mailbox's owner.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) mailbox: VerifyKey,
    pub(crate) turn: Turn,
    /// False for what has no counter of the mailbox, and no effect.
    pub(crate) counted: bool,
    /// The same packet came before.
    pub(crate) again: bool,
}

impl Caller {
    pub(crate) fn new(peer: Peer, room: usize, seat: Seat) -> Self {
        Self { peer, room, seat, proved: None }
    }

    /// True when the request came in a session of this mailbox's owner: it is proved without a signature, and has none.
    pub fn owns(&self, mailbox: &VerifyKey) -> bool {
        self.proved.as_ref().is_some_and(|proved| proved.mailbox == *mailbox)
    }

    /// True when the request came through a chain of servers: where its sender is must not show here.
    pub fn is_hidden(&self) -> bool {
        self.seat.hidden
    }

    /// True for a request that came before: it is answered, and waits for nothing.
    pub(crate) fn repeats(&self) -> bool {
        self.proved.as_ref().is_some_and(|proved| proved.again)
    }

    /// Writes what takes a counter. The same request in a session again is done already when the first one was.
    pub(crate) async fn count(&self, write: Write, mail: &Mail) -> Result<WriteOutcome, Answer> {
        let Some(proved) = &self.proved else { return mail.write(write).await };
        if !proved.counted {
            return Ok(WriteOutcome::Pull(PullOutcome::Done));
        }
        let mut taken = proved.turn.lock().await;
        if *taken {
            return Ok(WriteOutcome::Pull(PullOutcome::Done));
        }
        let outcome = mail.write(write).await?;
        *taken = outcome == WriteOutcome::Pull(PullOutcome::Done);
        Ok(outcome)
    }
}

/// A place among the requests that are worked on, in all and of one address.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    hop: Option<Hop>,
    hidden: bool,
}

impl Seat {
    /// A place if one is free.
    pub(crate) fn take(seats: &Arc<Semaphore>) -> Option<Self> {
        let taken = Arc::clone(seats).try_acquire_owned().ok()?;
        Some(Self { seats: Arc::clone(seats), taken: Some(taken), hop: None, hidden: false })
    }

    /// Counts this request for its address too.
    pub(crate) fn with_hop(self, hop: Option<Hop>) -> Self {
        Self { hop, ..self }
    }

    /// For a request that came through a chain, from nobody knows where.
    pub(crate) fn hidden(self) -> Self {
        Self { hidden: true, ..self }
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
