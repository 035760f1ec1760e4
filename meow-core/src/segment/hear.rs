//! What a frame does.

use std::time::Duration;

use bytes::Bytes;

use super::header::{Ack, Data, Segment, Tag};
use super::inbound::Took;
use super::link::{LinkId, LinkState, Raw};
use super::machine::{Broken, Event, Machine, Reply};
use crate::wire::THIN_SIZES;

/// Raw packets that wait in a link for its user to look at.
const RAW_INBOX: usize = 8;
/// Share of the patience after which a half-received link, or one that answers nobody, makes room for a new one.
const STALE: u32 = 4;

impl Machine {
    /// Takes a frame that was heard. What is no segment, or of a link that is not known here, is dropped.
    pub fn receive(&mut self, now: Duration, frame: &Bytes) {
        if self.config.bus && THIN_SIZES.contains(&frame.len()) {
            self.hear_raw(now, frame);
            return;
        }
        match Segment::decode(frame) {
            Ok(Segment::Data(data)) => self.hear_data(now, data),
            Ok(Segment::Ack(ack)) => self.hear_ack(now, &ack),
            Ok(Segment::Reset { tag, acceptor }) => {
                if let Some(id) = self.known(&tag, acceptor) {
                    self.break_link(id, Broken::Reset);
                }
            }
            Err(_) => {}
        }
    }

    /// The link of this tag, if a segment from this side can be for it: the echo of one's own cannot.
    fn known(&self, tag: &Tag, acceptor: bool) -> Option<LinkId> {
        let id = *self.tags.get(tag)?;
        self.links.get(&id).filter(|link| link.dialled == acceptor).map(|_| id)
    }

    fn hear_raw(&mut self, now: Duration, frame: &Bytes) {
        if let Some(at) = self.echoes.iter().position(|echo| echo == frame) {
            self.echoes.remove(at);
            return;
        }
        let packet = Bytes::copy_from_slice(frame);
        for (id, link) in &mut self.links {
            if link.raw == Raw::Asked && link.broken.is_none() && link.rx_held {
                link.inn.put(packet.clone(), RAW_INBOX);
                self.events.push_back(Event::Changed(*id));
            }
        }
        if !self.listening {
            return;
        }
        let tag = super::answer_tag(&packet);
        if self.tags.contains_key(&tag) {
            return; // being answered, or asked by this station itself
        }
        if let Some(at) = self.past.iter().position(|past| past.tag == tag) {
            // Asked again: the answer was lost. It is the same once more.
            if let Some(Reply::Raw(answer)) = self.past.get(at).map(|past| &past.reply) {
                let answer = answer.clone();
                self.raw_again(answer);
                return;
            }
            self.past.remove(at);
        }
        if !self.make_room(now) {
            return;
        }
        let id = self.add(false, Some(tag), now);
        if let Some(link) = self.links.get_mut(&id) {
            link.raw = Raw::Came;
            link.inn.put(packet, 1);
            link.inn.ended = true;
        }
        self.show(id);
    }

    fn show(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !std::mem::replace(&mut link.shown, true)
        {
            self.incoming.push_back(id);
            self.events.push_back(Event::Incoming);
        }
    }

    /// Room for one more link of another station.
    fn make_room(&mut self, now: Duration) -> bool {
        let theirs = |link: &&LinkState| !link.dialled;
        // Broken links wait for their user only.
        let live = self.links.values().filter(theirs).filter(|link| link.broken.is_none()).count();
        let all = self.links.values().filter(theirs).count();
        if live < self.config.max_links
            && all < self.config.max_links * 2
            && self.memory() < self.config.max_memory
        {
            return true;
        }
        // Who has begun and does not go on, or was answered and acknowledges nothing, makes room for who begins.
        let stale = self.config.patience / STALE;
        let silent = self.links.iter().filter(|(_, link)| !link.dialled && link.waits());
        match silent.min_by_key(|(_, link)| link.touched) {
            Some((id, link)) if now.saturating_sub(link.touched) >= stale => {
                let id = *id;
                self.break_link(id, Broken::Vanished);
                all < self.config.max_links * 2
            }
            _ => false,
        }
    }

    /// Takes a link off without a trace; nobody here knows of it.
    pub(super) fn forget(&mut self, id: LinkId) {
        if let Some(tag) = self.links.remove(&id).and_then(|link| link.tag) {
            self.tags.remove(&tag);
        }
    }

    pub(super) fn break_link(&mut self, id: LinkId, why: Broken) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.shown {
            self.forget(id);
            return;
        }
        // The far side may wait for what never comes, and ask for nothing.
        let told =
            link.tag.filter(|_| why == Broken::Vanished && link.raw == Raw::No && link.broken.is_none());
        let acceptor = !link.dialled;
        link.break_off(why);
        if let Some(tag) = told {
            self.reset(tag, acceptor);
        }
        self.events.push_back(Event::Changed(id));
        self.sweep(id);
    }

    fn answer_for_past(&mut self, tag: &Tag) {
        if let Some(Reply::Segment(frame)) =
            self.past.iter().find(|past| past.tag == *tag).map(|past| &past.reply)
        {
            let frame = frame.clone();
            if !self.strays.contains(&frame) {
                self.stray(frame);
            }
        }
    }

    fn hear_data(&mut self, now: Duration, data: Data) {
        let id = match self.known(&data.tag, data.acceptor) {
            Some(id) => id,
            None if self.tags.contains_key(&data.tag) => return, // an echo
            None if self.past.iter().any(|past| past.tag == data.tag) => {
                if data.poll {
                    self.answer_for_past(&data.tag);
                }
                return;
            }
            None => {
                self.keep_quiet(now, data.poll);
                if !data.open || !self.listening || !self.make_room(now) {
                    return;
                }
                self.add(false, Some(data.tag), now)
            }
        };
        let room = self.config.max_memory.saturating_sub(self.memory());
        let (max_packet, repeat, rtt_end) =
            (self.config.max_packet, self.config.repeat, self.config.answer_time());
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.broken.is_some() {
            return;
        }
        (link.heard, link.touched) = (true, now);
        if let Some(poll) = &mut link.out.poll {
            // The far side is speaking, so its answer to the poll comes later or is in vain by now.
            if let Some(deadline) = &mut poll.deadline {
                *deadline = (*deadline).max(now + rtt_end * 2);
            }
        }
        let poll = data.poll;
        let took = link.inn.take_piece(data, max_packet, room);
        match took {
            // Nobody reads: what comes is thrown away, so that the far side can end while one's own is under way.
            Took::Ready if !link.rx_held => while link.inn.read().is_some() {},
            Took::Ready => {
                let whole = link.inn.has_packet() || link.inn.ended;
                if link.shown {
                    self.events.push_back(Event::Changed(id));
                } else if whole {
                    self.show(id);
                }
            }
            Took::Quiet => {}
            Took::Violation => {
                if let (Some(tag), acceptor) = (link.tag, !link.dialled) {
                    self.reset(tag, acceptor);
                }
                if let Some(link) = self.links.get_mut(&id) {
                    link.inn.clear();
                }
                self.break_link(id, Broken::Violation);
            }
        }
        if repeat && poll && took != Took::Violation {
            self.answer(id);
        }
    }

    fn hear_ack(&mut self, now: Duration, ack: &Ack) {
        let Some(id) = self.known(&ack.tag, ack.acceptor) else {
            if ack.poll && !self.tags.contains_key(&ack.tag) {
                self.answer_for_past(&ack.tag);
                self.keep_quiet(now, true);
            }
            return;
        };
        let repeat = self.config.repeat;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.broken.is_none() && repeat) else {
            return;
        };
        (link.heard, link.touched) = (true, now);
        let left = link.out.poll.as_ref().and_then(|poll| poll.left).filter(|_| link.out.tries == 0);
        if !link.out.acknowledge(ack) {
            self.break_link(id, Broken::Violation);
            return;
        }
        // Whatever was to be asked is answered.
        link.poll_due &= link.out.poll.is_some();
        if let Some(left) = left.filter(|_| link.out.poll.is_none()) {
            link.rto.sample(now.saturating_sub(left));
        }
        if ack.poll {
            self.answer(id);
        }
        self.quiet = Duration::ZERO;
        self.await_credit(id, now);
        self.events.push_back(Event::Changed(id));
        self.sweep(id);
    }
}
