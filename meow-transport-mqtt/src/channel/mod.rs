//! A channel: numbered records between one client and one server, and the links in them.
//!
//! Whoever has something to say leaves it in `pending` and wakes the bus, which packs what is there into records. So a
//! frame and the end that follows it travel together, and all sealing happens in one place, in order.

mod life;
mod links;
mod records;
mod state;

pub(crate) use links::Sending;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::transport::{Link, Peer};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::budget::{Rate, Unread};
use crate::bus::Bus;
use crate::config::BrokerConfig;
use crate::error::MqttError;
use crate::wire::{Direction, Item, TopicId};

use state::{Incoming, Outgoing, OwnTopic, State};

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
                controls: 0,
                pong: false,
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

    /// Why the connection that carries it is not there at the moment, if it was lost.
    pub(crate) fn trouble(&self) -> Option<MqttError> {
        self.bus.trouble()
    }

    /// Since when it has had no links, if it has none.
    pub(crate) fn unused_since(&self) -> Option<Instant> {
        let state = self.state();
        state.links.is_empty().then_some(state.idle_since)
    }

    /// Whether nothing is left to be sent of a channel that has ended.
    pub(crate) fn done(&self) -> bool {
        let state = self.state();
        state.ended && state.out.pending.is_empty()
    }

    pub(crate) fn topics(&self) -> Vec<TopicId> {
        self.state().into.topics.iter().map(|topic| topic.id).collect()
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
}
