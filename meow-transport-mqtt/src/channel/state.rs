//! What a channel knows: of each direction, of its links, of the far side. And what single items change.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use meow_core::transport::Frame;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::Room;
use crate::link::Inbound;
use crate::wire::{Direction, Item, TopicId};

/// Bytes that one direction of a link may have under way: more are sent as they are consumed.
pub(super) const WINDOW: usize = 64 * 1024;
/// What a frame counts beside its bytes.
const FRAME_COST: usize = 64;
/// Items beside frames that may wait to be packed: more than links that behave bring about. A far side that goes on asking
/// and takes no answers is left.
const MOST_SAID: usize = 2048;
/// How long a topic is listened to after its successor has come into use.
const OVERLAP: Duration = Duration::from_secs(5);

pub(super) struct State {
    pub(super) out: Outgoing,
    pub(super) into: Incoming,
    pub(super) links: HashMap<u32, Entry>,
    /// The link that the client opens next.
    pub(super) next_link: u32,
    /// One of the sides takes no new links.
    pub(super) leaving: bool,
    pub(super) ended: bool,
    pub(super) heard: Instant,
    /// Whether anything was ever heard.
    pub(super) known: bool,
    /// When the answer to a ping is due.
    pub(super) probe: Option<Instant>,
    pub(super) idle_since: Instant,
}

pub(super) struct Outgoing {
    pub(super) keys: Direction,
    pub(super) next: u64,
    /// Records below this number have arrived.
    pub(super) arrived: u64,
    pub(super) topic: TopicId,
    pub(super) pending: VecDeque<Said>,
    pub(super) pending_bytes: usize,
    /// How many of them are no frames.
    pub(super) controls: usize,
    /// One of them is a pong: it answers all pings before it.
    pub(super) pong: bool,
    /// Somebody waits for `pending` to shrink.
    pub(super) crowded: bool,
}

pub(super) struct Incoming {
    pub(super) keys: Direction,
    pub(super) next: u64,
    /// What the far side was told of `next`.
    pub(super) told: u64,
    pub(super) held: BTreeMap<u64, Early>,
    pub(super) gap: Option<Instant>,
    pub(super) topics: Vec<OwnTopic>,
    pub(super) moving: bool,
}

/// The items of a record that came before its turn.
pub(super) struct Early {
    pub(super) items: Vec<u8>,
    /// What it takes of a server's memory.
    pub(super) _room: Option<Room>,
}

pub(super) struct OwnTopic {
    pub(super) id: TopicId,
    pub(super) since: Instant,
    pub(super) used: bool,
    pub(super) retire: Option<Instant>,
}

/// An item that waits to be packed.
pub(super) enum Said {
    Data(u32, Frame),
    Item(Item<'static>),
}

impl Said {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Data(_, frame) => 1 + 4 + 2 + frame.len(),
            Self::Item(_) => 17,
        }
    }
}

pub(super) struct Entry {
    pub(super) inbound: mpsc::UnboundedSender<Inbound>,
    /// Bytes that may still be sent.
    pub(super) credit: usize,
    /// Bytes that the far side may still send.
    pub(super) window: usize,
    pub(super) consumed: usize,
    /// This side has finished, or broken off, or was told to stop.
    pub(super) out_done: bool,
    /// The far side has finished or broken off, or was told to stop.
    pub(super) in_done: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) gone: CancellationToken,
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

/// What a frame takes of a window.
pub(super) fn cost(frame: usize) -> usize {
    frame + FRAME_COST
}

impl State {
    pub(super) fn push(&mut self, said: Said) {
        self.out.pending_bytes += said.size();
        self.out.pending.push_back(said);
    }

    /// Leaves an item to be packed, unless so many wait already that the far side cannot mean well: that ends the channel.
    pub(super) fn say(&mut self, item: Item<'static>) {
        if self.out.controls >= MOST_SAID {
            tracing::debug!("a channel was closed: its far side asks and takes no answers");
            return self.end(true);
        }
        self.out.controls += 1;
        self.push(Said::Item(item));
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self) {
        if !std::mem::replace(&mut self.out.pong, true) {
            self.say(Item::Pong);
        }
    }

    /// The next of what waits, if it fits.
    pub(super) fn pack(&mut self, fits: impl FnOnce(&Said) -> bool) -> Option<Said> {
        self.out.pending.front().filter(|said| fits(said))?;
        let said = self.out.pending.pop_front()?;
        self.out.pending_bytes -= said.size();
        if let Said::Item(item) = &said {
            self.out.controls -= 1;
            self.out.pong &= *item != Item::Pong;
        }
        Some(said)
    }

    pub(super) fn hear(&mut self, at: TopicId, now: Instant) {
        self.heard = now;
        self.known = true;
        self.probe = None;
        let mut newest = true;
        for topic in self.into.topics.iter_mut().rev() {
            if newest {
                topic.used |= topic.id == at;
            } else {
                topic.retire.get_or_insert(now + OVERLAP);
            }
            newest &= !topic.used;
        }
    }

    /// Forgets a link of which both directions are done.
    pub(super) fn settle(&mut self, id: u32) {
        if self.links.get(&id).is_some_and(|entry| entry.in_done && entry.out_done)
            && let Some(entry) = self.links.remove(&id)
        {
            entry.gone.cancel();
            entry.wake.notify_waiters();
            self.idle_since = Instant::now();
        }
    }

    pub(super) fn in_ends(&mut self, id: u32, how: Inbound) -> Option<()> {
        let next = self.next_link;
        let Some(entry) = self.links.get_mut(&id) else { return (id < next).then_some(()) };
        if !entry.in_done {
            entry.in_done = true;
            // The half that listens may be gone already.
            let _ = entry.inbound.send(how);
            self.settle(id);
        }
        Some(())
    }

    pub(super) fn out_stops(&mut self, id: u32) -> Option<()> {
        let next = self.next_link;
        let Some(entry) = self.links.get_mut(&id) else { return (id < next).then_some(()) };
        entry.out_done = true;
        entry.gone.cancel();
        entry.wake.notify_waiters();
        self.settle(id);
        Some(())
    }

    pub(super) fn credited(&mut self, id: u32, more: u32) -> Option<()> {
        let next = self.next_link;
        let Some(entry) = self.links.get_mut(&id) else { return (id < next).then_some(()) };
        entry.credit = entry.credit.checked_add(usize::try_from(more).ok()?).filter(|sum| *sum <= WINDOW)?;
        entry.wake.notify_waiters();
        Some(())
    }

    pub(super) fn arrived(&mut self, number: u64) -> Option<()> {
        if number > self.out.next {
            return None;
        }
        self.out.arrived = self.out.arrived.max(number);
        Some(())
    }

    pub(super) fn end(&mut self, tell: bool) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.out.pending.clear();
        (self.out.pending_bytes, self.out.controls, self.out.pong) = (0, 0, false);
        self.into.held.clear();
        if tell {
            self.say(Item::Close);
            // The last record goes out whatever the window says.
            self.out.arrived = self.out.next;
        }
        for (_, entry) in self.links.drain() {
            // The half that listens may be gone already.
            let _ = entry.inbound.send(Inbound::Broken);
            entry.gone.cancel();
            entry.wake.notify_waiters();
        }
    }
}
