//! How requests are sealed: each to the server's key, or in a session.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use meow_core::Result;
use meow_core::crypto::Secret;
use meow_core::request::{Answer, RequestKind, THIN_ITEM_OVERHEAD};
use meow_core::session::{
    Direction, ITEM_DEPOSIT, SESSION_OVERHEAD, SessionKeys, SessionKind, SessionRequest,
    THIN_SESSION_OVERHEAD,
};
use meow_core::wire::{THIN_SIZES, Wire, WireError, is_thin, padded_len, size_of_class};

/// How much room an answer is to have. Its packet has this size whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// For "done", or a refusal.
    Small,
    /// For the grant of a session in the form that the link asks for.
    Opening,
    /// For items, as many as fit what is usual on the link.
    Items,
    /// This class of the fat row.
    Class(u8),
}

impl Room {
    /// The index of the size, in the whole table.
    pub(crate) fn index(self, thin: bool) -> u8 {
        match (self, thin) {
            (Self::Small, false) => 0,
            (Self::Small, true) => 5,
            (Self::Opening, false) => 2,
            (Self::Opening, true) => 6,
            (Self::Items, false) => 3,
            (Self::Items, true) => 7,
            (Self::Class(class), _) => class,
        }
    }
}

/// What seals a request.
#[derive(Clone, Copy)]
pub(crate) enum Seal<'a> {
    /// The server's public key.
    Key(&'a RequestKind),
    /// The server's public key; what is asked depends on the link.
    KeyByLink { fat: &'a RequestKind, thin: &'a RequestKind },
    /// A session.
    Session(&'a Session, &'a SessionKind),
}

/// A session, with counters that are reserved in the store for this process alone.
pub(crate) struct Session {
    keys: SessionKeys,
    left: Mutex<Range<u64>>,
    /// Until when it lasts, in Unix milliseconds.
    ends_ms: u64,
}

/// A packet of a session, and what its answer is to be.
pub(crate) struct Sealed {
    pub(crate) packet: Vec<u8>,
    counter: u64,
    size: usize,
}

impl Session {
    pub(crate) fn new(secret: &Secret, reserved: Range<u64>, ends_ms: u64) -> Self {
        Self { keys: SessionKeys::new(secret), left: Mutex::new(reserved), ends_ms }
    }

    /// Whether it lasts and has counters left.
    pub(crate) fn ready(&self, now_ms: u64) -> bool {
        now_ms < self.ends_ms && !self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether it came from this secret.
    pub(crate) fn is_of(&self, secret: &Secret) -> bool {
        self.keys == SessionKeys::new(secret)
    }

    /// Seals a request with the next counter, in a thin size where the link asks for it and one can do. `None` when no
    /// counter is left.
    ///
    /// # Errors
    /// `Limit` for what fits no packet.
    pub(crate) fn seal(&self, kind: &SessionKind, room: Room, thin: bool) -> Result<Option<Sealed>> {
        let Some(counter) = self.left.lock().unwrap_or_else(PoisonError::into_inner).next() else {
            return Ok(None);
        };
        let answer = room.index(thin);
        let size = size_of_class(answer).ok_or(WireError::Invalid)?;
        if let (Some(item), Room::Small, true) = (alone(kind), room, thin) {
            let packet = self.keys.seal_item(Direction::Up, counter, ITEM_DEPOSIT, item)?;
            return Ok(Some(Sealed { packet, counter, size }));
        }
        let content = SessionRequest { answer, kind: kind.clone() }.to_wire()?;
        let to = size_of(content.len(), thin).ok_or(WireError::TooLong)?;
        let packet = self.keys.seal(Direction::Up, counter, content, to)?;
        Ok(Some(Sealed { packet, counter, size }))
    }

    /// The answer in a packet; `None` for any other packet than the one that the server sealed for this request.
    pub(crate) fn open(&self, sealed: &Sealed, packet: &[u8]) -> Option<Answer> {
        if packet.len() != sealed.size {
            return None;
        }
        let content = self.keys.open(Direction::Down, sealed.counter, packet).ok()?;
        Answer::from_wire(&content).ok()
    }
}

/// The size of the packet for a request of this length on the wire.
fn size_of(content: usize, thin: bool) -> Option<usize> {
    let smallest = THIN_SIZES.into_iter().find(|size| content + THIN_SESSION_OVERHEAD < *size);
    smallest.filter(|_| thin).or_else(|| padded_len(content + 1 + SESSION_OVERHEAD))
}

/// How long the packet is that carries a request in a session.
pub(crate) fn session_len(kind: &SessionKind, room: Room, thin: bool) -> Option<usize> {
    if let (Some(item), Room::Small, true) = (alone(kind), room, thin) {
        return Some(item.len() + THIN_ITEM_OVERHEAD);
    }
    let content = SessionRequest { answer: room.index(thin), kind: kind.clone() }.to_wire().ok()?;
    size_of(content.len(), thin)
}

/// The item that is deposited alone in a thin packet, if this can be: its answer is small.
fn alone(kind: &SessionKind) -> Option<&[u8]> {
    match kind {
        SessionKind::Deposit { keep_secs: 0, item } if is_thin(item.len() + THIN_ITEM_OVERHEAD) => Some(item),
        _ => None,
    }
}
