//! One direction, at its sender: pieces that wait, are under way, or have arrived.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::header::{Ack, piece};

/// Bytes that may wait in one direction beside the packet that is being sent.
const QUEUE: usize = 64 * 1024;
/// How long the last piece waits for the word that nothing follows, which then costs no frame of its own.
const HOLD: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Outbound {
    /// Number of the first piece that is not acknowledged.
    base: u64,
    /// From `base` on.
    pieces: VecDeque<Piece>,
    /// First number that was never sent.
    fresh: u64,
    /// The far side takes pieces below this number.
    credit: u64,
    window: u64,
    repeat: bool,
    bytes: usize,
    hold: Option<Duration>,
    pub(super) finished: bool,
    /// Set while an acknowledgement is awaited.
    pub(super) poll: Option<Poll>,
    /// Waits in vain since something was heard.
    pub(super) tries: u32,
    /// Answers that nothing is taken, one after the other.
    pub(super) shut: u32,
}

#[derive(Debug, Default)]
pub(super) struct Poll {
    /// When the poll had left, where the round trip can be measured.
    pub(super) left: Option<Duration>,
    /// None while the poll is still to be sent.
    pub(super) deadline: Option<Duration>,
}

#[derive(Debug)]
struct Piece {
    data: Bytes,
    end: bool,
    fin: bool,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// To be sent, for the first time or again.
    Waiting,
    Sent,
    Arrived,
}

/// A piece to be sent now.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) seq: u16,
    pub(super) data: Bytes,
    pub(super) end: bool,
    pub(super) fin: bool,
    /// Nothing else can be sent before the far side has answered.
    pub(super) last: bool,
}

impl Outbound {
    /// `first` pieces may be under way before anything is heard of the far side.
    pub(super) fn new(window: u8, first: u8, repeat: bool) -> Self {
        let (window, first) = (u64::from(window), u64::from(first));
        Self {
            base: 0,
            pieces: VecDeque::new(),
            fresh: 0,
            credit: if repeat { first } else { u64::MAX },
            window: if repeat { window } else { u64::MAX },
            repeat,
            bytes: 0,
            hold: None,
            finished: false,
            poll: None,
            tries: 0,
            shut: 0,
        }
    }

    /// Whether another packet of this length may be queued.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.pieces.is_empty() || self.bytes + length <= QUEUE
    }

    pub(super) fn push(&mut self, packet: Bytes, max_frame: usize, now: Duration) {
        self.bytes += packet.len();
        let mut left = packet;
        while !left.is_empty() {
            let data = left.split_to(piece(left.len(), max_frame));
            let end = left.is_empty();
            self.pieces.push_back(Piece { data, end, fin: false, state: State::Waiting });
        }
        self.hold = Some(now + HOLD);
    }

    /// Nothing follows: said with the last piece, if that was not sent yet.
    pub(super) fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        let unsent = self.base + self.pieces.len() as u64 > self.fresh;
        match self.pieces.back_mut() {
            Some(last) if unsent => last.fin = true,
            _ => {
                self.pieces.push_back(Piece {
                    data: Bytes::new(),
                    end: false,
                    fin: true,
                    state: State::Waiting,
                });
            }
        }
    }

    /// Everything has arrived, and nothing will follow.
    pub(super) fn is_done(&self) -> bool {
        self.finished && self.pieces.is_empty()
    }

    /// Something was queued, ever.
    pub(super) fn is_used(&self) -> bool {
        self.base > 0 || !self.pieces.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Forgets what was to be sent.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.poll = None;
    }

    /// Index of the next piece that may be sent, from index `from` on.
    fn next(&self, from: usize, now: Duration) -> Option<usize> {
        let limit = self.credit.min(self.base.saturating_add(self.window)).saturating_sub(self.base);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(self.pieces.len());
        let at = (from..limit).find(|n| self.pieces.get(*n).is_some_and(|p| p.state == State::Waiting))?;
        let piece = self.pieces.get(at)?;
        let very_last = at + 1 == self.pieces.len() && self.base + at as u64 >= self.fresh;
        let held = very_last && !piece.fin && self.hold.is_some_and(|until| now < until);
        (!held).then_some(at)
    }

    /// When a piece that is held back may go.
    pub(super) fn held_until(&self) -> Option<Duration> {
        let unsent = self.base + self.pieces.len() as u64 > self.fresh;
        self.hold.filter(|_| unsent && self.poll.is_none())
    }

    /// The next piece to send.
    pub(super) fn pick(&mut self, now: Duration) -> Option<Picked> {
        if self.poll.is_some() {
            return None;
        }
        let at = self.next(0, now)?;
        let seq = self.base + at as u64;
        let last = self.next(at + 1, now).is_none();
        let piece = self.pieces.get_mut(at)?;
        piece.state = State::Sent;
        self.fresh = self.fresh.max(seq + 1);
        let (data, end, fin) = (piece.data.clone(), piece.end, piece.fin);
        if !self.repeat {
            self.drop_front(1);
        }
        Some(Picked { seq: seq as u16, data, end, fin, last })
    }

    /// Whether there is something that could be sent now.
    pub(super) fn can_pick(&self, now: Duration) -> bool {
        self.poll.is_none() && self.next(0, now).is_some()
    }

    fn drop_front(&mut self, count: u64) {
        for piece in self.pieces.drain(..usize::try_from(count).unwrap_or(usize::MAX).min(self.pieces.len()))
        {
            self.bytes = self.bytes.saturating_sub(piece.data.len());
        }
        self.base += count;
    }

    /// Takes an acknowledgement in. False for one that cannot be true.
    pub(super) fn acknowledge(&mut self, ack: &Ack) -> bool {
        let Some(base) = expand(self.base, ack.base) else { return false };
        if base < self.base {
            return true; // overtaken by a later one
        }
        if base > self.fresh {
            return false;
        }
        self.drop_front(base - self.base);
        for n in 0..63 {
            if ack.bitmap >> n & 1 == 1
                && let Some(piece) = self.pieces.get_mut(n + 1)
                && piece.state == State::Sent
            {
                piece.state = State::Arrived;
            }
        }
        self.credit = base + u64::from(ack.window);
        self.shut = if ack.window == 0 { self.shut.saturating_add(1) } else { 0 };
        let limit = usize::try_from(self.credit.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let more = self.pieces.iter().take(limit).any(|piece| piece.state == State::Waiting);
        if self.poll.take().is_some() || !more {
            // The far side answered a poll, maybe one that was given up: what it does not name is lost.
            self.pieces.iter_mut().filter(|p| p.state == State::Sent).for_each(|p| p.state = State::Waiting);
        }
        self.tries = 0;
        true
    }

    /// The far side may not have heard of this link yet: sends its first piece again.
    pub(super) fn repeat_first(&mut self) {
        if let Some(piece) = self.pieces.iter_mut().find(|p| p.state == State::Sent) {
            piece.state = State::Waiting;
            self.poll = None;
        }
    }
}

/// The whole number that `short` stands for, next to `near`. None before the first: nothing has such a number.
pub(super) fn expand(near: u64, short: u16) -> Option<u64> {
    let off = short.wrapping_sub(near as u16) as i16;
    near.checked_add_signed(off.into())
}

impl Outbound {
    /// Something waits, and the far side takes nothing.
    pub(super) fn is_blocked(&self) -> bool {
        self.repeat && self.credit <= self.base && !self.pieces.is_empty()
    }
}
