//! What the halves of a link ask of their channel.

use std::sync::Arc;

use meow_core::transport::{Frame, Link};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::state::{Entry, Said, State, WINDOW, cost};
use super::{Channel, Side};
use crate::error::MqttError;
use crate::link;
use crate::wire::Item;

/// Bytes that may wait to be packed before senders wait.
pub(super) const CROWDED: usize = 256 * 1024;

/// What came of trying to send.
pub(crate) enum Sending {
    Done,
    Wait,
}

impl Channel {
    /// Opens the client's next link, once there is a slot. The far side hears of it with the first frame, or at the next tick:
    /// a record for that alone would cost as much as a short request.
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
        Ok(link)
    }

    pub(super) fn add(
        self: &Arc<Self>,
        state: &mut State,
        id: u32,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Link {
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
}
