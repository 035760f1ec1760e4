//! One direction, at its receiver: pieces become packets again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::header::{Data, MAX_WINDOW};
use super::outbound::expand;

/// Packets that wait to be read before the window closes.
const INBOX: usize = 2;

#[derive(Debug)]
pub(super) struct Inbound {
    /// Number of the next piece in order.
    base: u64,
    /// Pieces that came ahead of it.
    ahead: BTreeMap<u64, Piece>,
    /// The packet under way.
    packet: Vec<u8>,
    inbox: VecDeque<Bytes>,
    window: u64,
    pub(super) ended: bool,
    /// The far side was last told that nothing is taken.
    pub(super) told_closed: bool,
    /// Bytes held in all.
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Piece {
    data: Bytes,
    end: bool,
    fin: bool,
}

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// A packet, or the end, can be read.
    Ready,
    /// Kept, known already, or not taken now.
    Quiet,
    /// The far side breaks the rules.
    Violation,
}

impl Inbound {
    pub(super) fn new(window: u8) -> Self {
        Self {
            base: 0,
            ahead: BTreeMap::new(),
            packet: Vec::new(),
            inbox: VecDeque::new(),
            window: window.into(),
            ended: false,
            told_closed: false,
            bytes: 0,
        }
    }

    /// Takes a piece, if it is within the window and there are `room` bytes.
    pub(super) fn take_piece(&mut self, data: Data, max_packet: usize, room: usize) -> Took {
        let Some(seq) = expand(self.base, data.seq) else { return Took::Quiet };
        if seq < self.base || seq >= self.base + self.open() || self.ended || data.data.len() > room {
            return Took::Quiet;
        }
        // Copied: a slice would keep the whole buffer that it came in.
        let piece = Piece { data: Bytes::copy_from_slice(&data.data), end: data.end, fin: data.fin };
        if self.ahead.contains_key(&seq) {
            return Took::Quiet;
        }
        self.bytes += piece.data.len();
        self.ahead.insert(seq, piece);
        let mut ready = false;
        while let Some(piece) = self.ahead.remove(&self.base) {
            self.base += 1;
            if self.packet.len() + piece.data.len() > max_packet {
                return Took::Violation;
            }
            if piece.end && self.packet.is_empty() {
                self.inbox.push_back(piece.data);
                ready = true;
            } else {
                self.packet.extend_from_slice(&piece.data);
                if piece.end {
                    self.inbox.push_back(std::mem::take(&mut self.packet).into());
                    ready = true;
                }
            }
            if piece.fin {
                // Within a packet, there is no end of the direction.
                if !self.packet.is_empty() || !self.ahead.is_empty() {
                    return Took::Violation;
                }
                (self.ended, ready) = (true, true);
            }
        }
        if ready { Took::Ready } else { Took::Quiet }
    }

    /// A packet that came as it is. The oldest makes room: who waits for an answer cannot choose what comes.
    pub(super) fn put(&mut self, packet: Bytes, most: usize) {
        while self.inbox.len() >= most {
            self.read();
        }
        self.bytes += packet.len();
        self.inbox.push_back(packet);
    }

    /// The next whole packet.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        let packet = self.inbox.pop_front()?;
        self.bytes = self.bytes.saturating_sub(packet.len());
        Some(packet)
    }

    pub(super) fn is_full(&self) -> bool {
        self.inbox.len() >= INBOX
    }

    pub(super) fn has_packet(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// How many pieces are taken from the base on.
    fn open(&self) -> u64 {
        // Once pieces after the end of a packet are there, they can complete packets beyond the bound; at most one
        // window of them.
        if self.is_full() { 0 } else { self.window }
    }

    /// Base, window and bitmap of an acknowledgement.
    pub(super) fn state(&self) -> (u16, u8, u64) {
        let mut bitmap = 0;
        for seq in self.ahead.keys() {
            let n = seq - self.base;
            if (1..64).contains(&n) {
                bitmap |= 1u64 << (n - 1);
            }
        }
        (self.base as u16, u8::try_from(self.open()).unwrap_or(MAX_WINDOW), bitmap)
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self) {
        self.ahead.clear();
        self.packet = Vec::new();
        self.inbox.clear();
        self.bytes = 0;
    }
}
