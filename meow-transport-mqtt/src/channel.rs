//! A channel: numbered records between one client and one server, and the links in them.
//!
//! Whoever has something to say leaves it in `pending` and wakes the bus, which packs what is there into records. So a
//! frame and the end that follows it travel together, and all sealing happens in one place, in order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meow_core::transport::{Frame, Link, Peer};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Rate, Unread};
use crate::bus::Bus;
use crate::config::BrokerConfig;
use crate::error::MqttError;
use crate::link::{self, Inbound};
use crate::wire::{Direction, Item, Items, ROOM, TopicId, open_record, seal_record};

/// Bytes that one direction of a link may have under way: more are sent as they are consumed.
pub(crate) const WINDOW: usize = 64 * 1024;
/// What a frame counts beside its bytes.
const FRAME_COST: usize = 64;
/// Records under way on a channel until the far side says what has arrived.
const RECORDS: u64 = 64;
/// After so many records a side says what has arrived, though it has nothing else to say.
const TELL_AFTER: u64 = 16;
/// Records that may come before one that is missing.
const HELD: u64 = 2 * RECORDS;
/// Bytes that may wait to be packed before senders wait.
const CROWDED: usize = 256 * 1024;
/// How long a missing record is waited for.
const GAP: Duration = Duration::from_secs(10);
/// How long a topic is listened to after its successor has come into use.
const OVERLAP: Duration = Duration::from_secs(5);
/// How long a server waits for the first record of a channel.
const FIRST_RECORD: Duration = Duration::from_secs(15);
/// How long a server keeps a channel on which nothing happens.
const FORGOTTEN: Duration = Duration::from_secs(180);

/// Which side of a channel this is.
pub(crate) enum Side {
    /// Opens links; how many at once, the semaphore says.
    Client { slots: Arc<Semaphore>, idle: Duration },
    /// Takes links.
    Server { arrivals: mpsc::Sender<Link>, max_links: usize, rate: Mutex<Rate>, unread: Arc<Unread> },
}

pub(crate) struct Channel {
    bus: Arc<Bus>,
    side: Side,
    config: BrokerConfig,
    peer: Peer,
    /// Counts the halves of links.
    open: Arc<TaskTracker>,
    /// Whether it stands in the bus's list of those that have something to say.
    pub(crate) queued: AtomicBool,
    state: Mutex<State>,
}

struct State {
    out: Outgoing,
    into: Incoming,
    links: HashMap<u32, Entry>,
    /// The link that the client opens next.
    next_link: u32,
    /// One of the sides takes no new links.
    leaving: bool,
    ended: bool,
    heard: Instant,
    /// Whether anything was ever heard.
    known: bool,
    /// When the answer to a ping is due.
    probe: Option<Instant>,
    idle_since: Instant,
}

struct Outgoing {
    keys: Direction,
    next: u64,
    /// Records below this number have arrived.
    arrived: u64,
    topic: TopicId,
    pending: VecDeque<Said>,
    pending_bytes: usize,
    /// Somebody waits for `pending` to shrink.
    crowded: bool,
}

struct Incoming {
    keys: Direction,
    next: u64,
    /// What the far side was told of `next`.
    told: u64,
    held: BTreeMap<u64, Vec<u8>>,
    gap: Option<Instant>,
    topics: Vec<OwnTopic>,
    moving: bool,
}

struct OwnTopic {
    id: TopicId,
    since: Instant,
    used: bool,
    retire: Option<Instant>,
}

/// An item that waits to be packed.
enum Said {
    Data(u32, Frame),
    Item(Item<'static>),
}

impl Said {
    fn size(&self) -> usize {
        match self {
            Self::Data(_, frame) => 1 + 4 + 2 + frame.len(),
            Self::Item(_) => 17,
        }
    }
}

struct Entry {
    inbound: mpsc::UnboundedSender<Inbound>,
    /// Bytes that may still be sent.
    credit: usize,
    /// Bytes that the far side may still send.
    window: usize,
    consumed: usize,
    /// This side has finished, or broken off, or was told to stop.
    out_done: bool,
    /// The far side has finished or broken off, or was told to stop.
    in_done: bool,
    wake: Arc<Notify>,
    gone: CancellationToken,
    _slot: Option<OwnedSemaphorePermit>,
}

/// What came of trying to send.
pub(crate) enum Sending {
    Done,
    Wait,
}

fn cost(frame: usize) -> usize {
    frame + FRAME_COST
}

/// What the bus does about a channel after looking at it.
#[derive(Default)]
pub(crate) struct Chores {
    pub(crate) retired: Vec<TopicId>,
    pub(crate) move_on: bool,
}

impl Channel {
    pub(crate) fn new(
        bus: Arc<Bus>,
        side: Side,
        peer: Peer,
        open: Arc<TaskTracker>,
        (out, to): (Direction, TopicId),
        (into, at): (Direction, TopicId),
    ) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            out: Outgoing {
                keys: out,
                next: 0,
                arrived: 0,
                topic: to,
                pending: VecDeque::new(),
                pending_bytes: 0,
                crowded: false,
            },
            into: Incoming {
                keys: into,
                next: 0,
                told: 0,
                held: BTreeMap::new(),
                gap: None,
                topics: vec![OwnTopic { id: at, since: now, used: false, retire: None }],
                moving: false,
            },
            links: HashMap::new(),
            next_link: 0,
            leaving: false,
            ended: false,
            heard: now,
            known: false,
            probe: None,
            idle_since: now,
        };
        let config = bus.config().clone();
        let queued = AtomicBool::new(false);
        Arc::new(Self { bus, side, config, peer, open, queued, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole, so a poisoned lock is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes new links.
    pub(crate) fn takes_links(&self) -> bool {
        let state = self.state();
        !state.ended && !state.leaving
    }

    pub(crate) fn ended(&self) -> bool {
        self.state().ended
    }

    /// Whether nothing is left to be sent of a channel that has ended.
    pub(crate) fn done(&self) -> bool {
        let state = self.state();
        state.ended && state.out.pending.is_empty()
    }

    pub(crate) fn topics(&self) -> Vec<TopicId> {
        self.state().into.topics.iter().map(|topic| topic.id).collect()
    }

    /// Opens the client's next link, once there is a slot.
    pub(crate) async fn open_link(self: &Arc<Self>) -> Result<Link, MqttError> {
        let Side::Client { slots, .. } = &self.side else { return Err(MqttError::Closed) };
        let slot = Arc::clone(slots).acquire_owned().await.map_err(|_| MqttError::Closed)?;
        let mut state = self.state();
        if state.ended || state.leaving {
            return Err(MqttError::Closed);
        }
        let id = state.next_link;
        // A channel is young when the numbers run out: nobody opens four thousand million links in its life.
        state.next_link = id.checked_add(1).ok_or(MqttError::Closed)?;
        let link = self.add(&mut state, id, Some(slot));
        state.say(Item::Open(id));
        let now = Instant::now();
        if now - state.heard > self.config.probe_interval / 3 {
            // The server may have gone in the meantime; its answer to this comes before the one to the request.
            self.probe(&mut state, now);
        }
        drop(state);
        self.wake();
        Ok(link)
    }

    fn add(self: &Arc<Self>, state: &mut State, id: u32, slot: Option<OwnedSemaphorePermit>) -> Link {
        let (inbound, frames) = mpsc::unbounded_channel();
        let (wake, gone) = (Arc::new(Notify::new()), CancellationToken::new());
        state.links.insert(
            id,
            Entry {
                inbound,
                credit: WINDOW,
                window: WINDOW,
                consumed: 0,
                out_done: false,
                in_done: false,
                wake: Arc::clone(&wake),
                gone: gone.clone(),
                _slot: slot,
            },
        );
        link::link(Arc::clone(self), id, frames, (wake, gone), self.peer.clone(), &self.open)
    }

    /// Takes a frame if the far side and the bus have room for it. Nothing waits here: a frame is taken whole or not.
    pub(crate) fn send(self: &Arc<Self>, id: u32, frame: &Frame) -> Result<Sending, MqttError> {
        let mut state = self.state();
        let crowded = state.out.pending_bytes >= CROWDED;
        let entry = state.links.get_mut(&id).ok_or(MqttError::Closed)?;
        if entry.out_done {
            return Err(MqttError::Closed);
        }
        if crowded || entry.credit < cost(frame.len()) {
            state.out.crowded |= crowded;
            return Ok(Sending::Wait);
        }
        entry.credit -= cost(frame.len());
        state.push(Said::Data(id, frame.clone()));
        drop(state);
        self.wake();
        Ok(Sending::Done)
    }

    /// No more frames follow. False when the link is gone.
    pub(crate) fn finish(self: &Arc<Self>, id: u32) -> bool {
        self.end_out(id, Item::Finish(id))
    }

    pub(crate) fn break_off(self: &Arc<Self>, id: u32) {
        self.end_out(id, Item::Break(id));
    }

    fn end_out(self: &Arc<Self>, id: u32, item: Item<'static>) -> bool {
        let mut state = self.state();
        let Some(entry) = state.links.get_mut(&id).filter(|entry| !entry.out_done) else { return false };
        entry.out_done = true;
        state.say(item);
        state.settle(id);
        drop(state);
        self.wake();
        true
    }

    /// The receiving half was dropped.
    pub(crate) fn stop(self: &Arc<Self>, id: u32) {
        let mut state = self.state();
        let Some(entry) = state.links.get_mut(&id).filter(|entry| !entry.in_done) else { return };
        entry.in_done = true;
        state.say(Item::Stop(id));
        state.settle(id);
        drop(state);
        self.wake();
    }

    /// A frame was handed to the application, or thrown away with its link.
    pub(crate) fn consumed(self: &Arc<Self>, id: u32, frame: usize) {
        if let Side::Server { unread, .. } = &self.side {
            unread.give_back(cost(frame));
        }
        let mut state = self.state();
        let Some(entry) = state.links.get_mut(&id).filter(|entry| !entry.in_done) else { return };
        entry.consumed += cost(frame);
        if entry.consumed >= WINDOW / 2 {
            let more = std::mem::take(&mut entry.consumed);
            entry.window += more;
            // At most a window.
            state.say(Item::Credit(id, u32::try_from(more).unwrap_or(u32::MAX)));
            drop(state);
            self.wake();
        }
    }

    /// This side takes no new links, and says so.
    pub(crate) fn leave(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.ended && !state.leaving {
            state.leaving = true;
            state.say(Item::Leave);
            drop(state);
            self.wake();
        }
    }

    /// Breaks all links and forgets the channel; the far side is told.
    pub(crate) fn end(self: &Arc<Self>) {
        let mut state = self.state();
        state.end(true);
        drop(state);
        self.wake();
    }

    fn wake(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.bus.has_work(Arc::clone(self));
        }
    }

    fn probe(&self, state: &mut State, now: Instant) {
        if state.probe.is_none() {
            state.probe = Some(now + self.config.probe_timeout);
            state.say(Item::Ping);
        }
    }

    /// The next record to publish, and where.
    pub(crate) fn next_record(&self) -> Option<(TopicId, Bytes)> {
        let mut state = self.state();
        let State { out, into, .. } = &mut *state;
        let untold = into.next - into.told;
        let full = out.next - out.arrived >= RECORDS;
        if (full || out.pending.is_empty()) && untold < TELL_AFTER {
            return None;
        }
        let mut items = Vec::new();
        if untold > 0 {
            into.told = into.next;
            Item::Received(into.next).write(&mut items);
        }
        let fits = |said: &&Said, taken: usize| !full && taken + said.size() <= ROOM;
        while let Some(said) = out.pending.front().filter(|said| fits(said, items.len())) {
            out.pending_bytes -= said.size();
            match said {
                Said::Data(id, frame) => Item::Data(*id, frame).write(&mut items),
                Said::Item(item) => item.write(&mut items),
            }
            out.pending.pop_front();
        }
        let number = out.next;
        out.next += 1;
        let topic = out.topic;
        let record = seal_record(&out.keys, number, &items);
        if out.crowded && out.pending_bytes < CROWDED / 2 {
            out.crowded = false;
            state.links.values().for_each(|entry| entry.wake.notify_waiters());
        }
        // Items fit by the check above; were it otherwise, the gap would end the channel.
        Some((topic, record.ok()?.into()))
    }

    /// Takes what came on one of this side's topics. Whatever is no record of the far side is ignored: anybody may publish.
    pub(crate) fn receive(self: &Arc<Self>, at: TopicId, payload: &[u8]) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        let Ok((number, items)) = open_record(&state.into.keys, payload) else { return };
        let now = Instant::now();
        state.hear(at, now);
        let next = state.into.next;
        if number < next || state.into.held.contains_key(&number) {
            return;
        }
        if number - next >= HELD {
            state.end(true);
        } else if number > next {
            state.into.held.insert(number, items);
            state.into.gap.get_or_insert(now);
        } else {
            let mut ready = Some(items);
            while let Some(items) = ready {
                state.into.next += 1;
                if self.obey(&mut state, &items).is_none() {
                    tracing::debug!("a channel was closed: its far side breaks the mqtt binding");
                    state.end(true);
                    break;
                }
                let next = state.into.next;
                ready = state.into.held.remove(&next);
            }
            if state.into.held.is_empty() {
                state.into.gap = None;
            } else {
                state.into.gap = Some(now);
            }
        }
        let say =
            state.ended || !state.out.pending.is_empty() || state.into.next - state.into.told >= TELL_AFTER;
        drop(state);
        if say {
            self.wake();
        }
    }

    /// `None` when the far side breaks the rules.
    fn obey(self: &Arc<Self>, state: &mut State, items: &[u8]) -> Option<()> {
        for item in Items::new(items) {
            match item.ok()? {
                Item::Open(id) => self.opened(state, id)?,
                Item::Data(id, frame) => self.data(state, id, frame)?,
                Item::Finish(id) => state.in_ends(id, Inbound::Finished)?,
                Item::Break(id) => state.in_ends(id, Inbound::Broken)?,
                Item::Stop(id) => state.out_stops(id)?,
                Item::Credit(id, more) => state.credited(id, more)?,
                Item::Received(number) => state.arrived(number)?,
                Item::Move(topic) => state.out.topic = topic,
                Item::Ping => state.say(Item::Pong),
                // That something came is all that it says.
                Item::Pong => {}
                Item::Leave => state.leaving = true,
                Item::Close => state.end(false),
            }
            if state.ended {
                return Some(());
            }
        }
        Some(())
    }

    fn opened(self: &Arc<Self>, state: &mut State, id: u32) -> Option<()> {
        let Side::Server { arrivals, max_links, rate, .. } = &self.side else { return None };
        if id != state.next_link {
            return None;
        }
        state.next_link = id.checked_add(1)?;
        let allowed = rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        match arrivals.try_reserve() {
            Ok(place) if allowed && !state.leaving && state.links.len() < *max_links => {
                place.send(self.add(state, id, None));
            }
            _ => {
                state.say(Item::Break(id));
                state.say(Item::Stop(id));
            }
        }
        Some(())
    }

    fn data(&self, state: &mut State, id: u32, frame: &[u8]) -> Option<()> {
        let next = state.next_link;
        let Some(entry) = state.links.get_mut(&id) else { return (id < next).then_some(()) };
        if entry.in_done {
            return Some(());
        }
        if frame.len() > crate::MAX_FRAME {
            return None;
        }
        entry.window = entry.window.checked_sub(cost(frame.len()))?;
        if let Side::Server { unread, .. } = &self.side
            && !unread.take(cost(frame.len()))
        {
            entry.in_done = true;
            entry.out_done = true;
            // The half that listens may be gone already.
            let _ = entry.inbound.send(Inbound::Broken);
            state.say(Item::Break(id));
            state.say(Item::Stop(id));
            state.settle(id);
            return Some(());
        }
        // A copy: a piece would keep the whole record in memory.
        if entry.inbound.send(Inbound::Frame(Bytes::copy_from_slice(frame))).is_err()
            && let Side::Server { unread, .. } = &self.side
        {
            unread.give_back(cost(frame.len()));
        }
        Some(())
    }

    /// What is due by now.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant, alone: bool) -> Chores {
        let mut chores = Chores::default();
        let mut state = self.state();
        if state.ended {
            return chores;
        }
        let missing = state.into.gap.is_some_and(|since| now - since > GAP);
        let silent = state.probe.is_some_and(|due| now > due);
        let over = match &self.side {
            Side::Client { idle, .. } => state.links.is_empty() && (alone || now - state.idle_since > *idle),
            Side::Server { .. } if !state.known => now - state.idle_since > FIRST_RECORD,
            Side::Server { .. } => state.links.is_empty() && now - state.heard > FORGOTTEN,
        };
        if missing || silent || over {
            state.end(true);
        } else {
            if !state.links.is_empty() && now - state.heard > self.config.probe_interval {
                self.probe(&mut state, now);
            }
            state.into.topics.retain(|topic| {
                let retired = topic.retire.is_some_and(|at| now > at);
                if retired {
                    chores.retired.push(topic.id);
                }
                !retired
            });
            let worn = |topic: &OwnTopic| topic.used && now - topic.since > self.config.topic_life;
            if !state.into.moving && state.into.topics.last().is_some_and(worn) {
                state.into.moving = true;
                chores.move_on = true;
            }
        }
        let say = !state.out.pending.is_empty() || state.ended;
        drop(state);
        if say {
            self.wake();
        }
        chores
    }

    /// The far side shall send to a new topic, which is subscribed; or it could not be.
    pub(crate) fn moved(self: &Arc<Self>, to: Option<TopicId>) {
        let mut state = self.state();
        state.into.moving = false;
        if let Some(id) = to.filter(|_| !state.ended) {
            state.into.topics.push(OwnTopic { id, since: Instant::now(), used: false, retire: None });
            state.say(Item::Move(id));
        }
        drop(state);
        self.wake();
    }

    /// After the connection to the broker broke and came back with all that it held: whether the far side is there still.
    pub(crate) fn resumed(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.ended && !state.links.is_empty() {
            self.probe(&mut state, Instant::now());
            drop(state);
            self.wake();
        }
    }
}

impl State {
    fn push(&mut self, said: Said) {
        self.out.pending_bytes += said.size();
        self.out.pending.push_back(said);
    }

    fn say(&mut self, item: Item<'static>) {
        self.push(Said::Item(item));
    }

    fn hear(&mut self, at: TopicId, now: Instant) {
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
    fn settle(&mut self, id: u32) {
        if self.links.get(&id).is_some_and(|entry| entry.in_done && entry.out_done)
            && let Some(entry) = self.links.remove(&id)
        {
            entry.gone.cancel();
            entry.wake.notify_waiters();
            self.idle_since = Instant::now();
        }
    }

    fn in_ends(&mut self, id: u32, how: Inbound) -> Option<()> {
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

    fn out_stops(&mut self, id: u32) -> Option<()> {
        let next = self.next_link;
        let Some(entry) = self.links.get_mut(&id) else { return (id < next).then_some(()) };
        entry.out_done = true;
        entry.gone.cancel();
        entry.wake.notify_waiters();
        self.settle(id);
        Some(())
    }

    fn credited(&mut self, id: u32, more: u32) -> Option<()> {
        let next = self.next_link;
        let Some(entry) = self.links.get_mut(&id) else { return (id < next).then_some(()) };
        entry.credit = entry.credit.checked_add(usize::try_from(more).ok()?).filter(|sum| *sum <= WINDOW)?;
        entry.wake.notify_waiters();
        Some(())
    }

    fn arrived(&mut self, number: u64) -> Option<()> {
        if number > self.out.next {
            return None;
        }
        self.out.arrived = self.out.arrived.max(number);
        Some(())
    }

    fn end(&mut self, tell: bool) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.out.pending.clear();
        self.out.pending_bytes = 0;
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
