//! Records out and in.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

use super::links::CROWDED;
use super::state::{Early, Said, State, cost};
use super::{Channel, Side};
use crate::link::Inbound;
use crate::wire::{Item, Items, ROOM, TopicId, open_record, seal_record};

/// Records under way on a channel until the far side says what has arrived.
const RECORDS: u64 = 64;
/// After so many records a side says what has arrived, though it has nothing else to say.
const TELL_AFTER: u64 = 16;
/// Records that may come before one that is missing.
const HELD: u64 = 2 * RECORDS;

/// Bytes of the item that says what has arrived.
const RECEIVED: usize = 9;

impl Channel {
    /// The next record to publish, and where.
    pub(crate) fn next_record(&self) -> Option<(TopicId, Bytes)> {
        let mut state = self.state();
        let State { out, into, .. } = &mut *state;
        let untold = into.next - into.told;
        let full = out.next - out.arrived >= RECORDS;
        if (full || out.pending.is_empty()) && untold < TELL_AFTER {
            return None;
        }
        let mut items = Vec::with_capacity(ROOM.min(out.pending_bytes + RECEIVED));
        if untold > 0 {
            into.told = into.next;
            Item::Received(into.next).write(&mut items);
        }
        while let Some(said) = state.pack(|said| !full && items.len() + said.size() <= ROOM) {
            match said {
                Said::Data(id, frame) => Item::Data(id, &frame).write(&mut items),
                Said::Item(item) => item.write(&mut items),
            }
        }
        let out = &mut state.out;
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
            // Nobody knows yet whether this peer means well: what it lets wait counts like what lies unread.
            let room = match &self.side {
                Side::Server { unread, .. } => unread.hold(items.len()).map(Some),
                Side::Client { .. } => Some(None),
            };
            match room {
                Some(room) => {
                    state.into.held.insert(number, Early { items, _room: room });
                    state.into.gap.get_or_insert(now);
                }
                None => state.end(true),
            }
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
                ready = state.into.held.remove(&next).map(|early| early.items);
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
                Item::Ping => state.pong(),
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
}
