//! Which frame goes next, and what happens when nothing is heard.

use std::time::Duration;

use bytes::Bytes;

use super::header::LONGEST_ACK;
use super::link::LinkId;
use super::machine::{Broken, Machine};
use super::outbound::Poll;

impl Machine {
    /// The next frame for the medium, if there is one: acknowledgements that are waited for first, then words that a link is
    /// broken off, raw packets, and at last pieces of packets and questions after them, link by link.
    pub fn transmit(&mut self, now: Duration) -> Option<Bytes> {
        if let Some(frame) = self.strays.pop_front() {
            return Some(frame);
        }
        if let Some(ack) = self.acknowledge(now) {
            return Some(ack);
        }
        if now < self.quiet {
            return None;
        }
        if let Some(frame) = self.resets.pop_front() {
            return Some(frame);
        }
        if let Some(packet) = self.raws.pop_front() {
            self.note_echo(packet.clone());
            self.hushed = now;
            return Some(packet);
        }
        let id = self.whose_turn(now)?;
        (self.turn, self.turned) = (id, false);
        let link = self.links.get_mut(&id)?;
        if std::mem::take(&mut link.poll_due) {
            let ack = link.ack(true)?;
            self.turned = true;
            self.polled(id, now);
            return Some(ack.encode());
        }
        let picked = link.out.pick(now)?;
        let (last, repeat) = (picked.last, self.config.repeat);
        let segment = link.data(picked, repeat)?;
        if last && repeat {
            self.turned = true;
            self.polled(id, now);
        }
        Some(segment.encode())
    }

    /// The next acknowledgement that is waited for. It asks for one too where that is to be done, but not while the medium is kept
    /// free for another answer.
    fn acknowledge(&mut self, now: Duration) -> Option<Bytes> {
        while let Some(id) = self.due.pop_front() {
            let hushed = now < self.quiet;
            let Some(link) = self.links.get_mut(&id) else { continue };
            if !std::mem::take(&mut link.answer_due) {
                continue;
            }
            let poll = !hushed && std::mem::take(&mut link.poll_due);
            let Some(ack) = link.ack(poll) else { continue };
            if poll {
                self.polled(id, now);
            }
            return Some(ack.encode());
        }
        None
    }

    /// The next link that has a piece to send, or a question.
    fn whose_turn(&self, now: Duration) -> Option<LinkId> {
        let ready = |id: &LinkId| {
            self.links.get(id).is_some_and(|l| l.broken.is_none() && (l.poll_due || l.out.can_pick(now)))
        };
        // A half-duplex medium turns round once for all that a link may send, to its poll.
        if self.config.half_duplex && !self.turned && ready(&self.turn) {
            return Some(self.turn);
        }
        let after = LinkId(self.turn.0 + 1);
        let mut order = self.links.range(after..).chain(self.links.range(..after)).map(|(id, _)| *id);
        order.find(ready)
    }

    /// A poll is leaving: until it has, no clock runs.
    fn polled(&mut self, id: LinkId, now: Duration) {
        let quiet = self.config.answer_time() * 2;
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.out.poll.is_none() {
            link.touched = link.touched.max(if link.out.tries == 0 { now } else { link.touched });
        }
        link.out.poll = Some(Poll::default());
        (self.leaving, self.hushed) = (Some(id), now);
        if self.config.half_duplex {
            self.quiet = now + quiet;
        }
    }

    /// The last frame of [`transmit`](Self::transmit) has left.
    pub fn sent(&mut self, now: Duration) {
        if let Some(id) = self.leaving.take()
            && let Some(link) = self.links.get_mut(&id)
            && let Some(poll) = &mut link.out.poll
        {
            *poll = Poll {
                left: Some(now),
                deadline: Some(now + link.rto.wait(link.out.tries, self.dice.draw())),
            };
            if self.config.half_duplex {
                self.quiet = now + self.config.answer_time() * 2;
            }
        }
        if !self.config.repeat {
            // What has left has arrived: there may be room, or a link is over.
            let ids: Vec<_> = self.links.keys().copied().collect();
            for id in ids {
                self.events.push_back(super::Event::Changed(id));
                self.sweep(id);
            }
        }
    }

    /// Another station's piece was heard: more follow, or an answer to its poll. Who sends pieces without end (small ones are
    /// cheap) is not waited for longer than a burst of the largest window takes.
    pub(super) fn keep_quiet(&mut self, now: Duration, poll: bool) {
        if self.config.half_duplex {
            if now > self.quiet + self.config.rtt {
                self.hushed = now;
            }
            if now.saturating_sub(self.hushed) > self.config.longest_burst() {
                return;
            }
            let next = if poll {
                self.config.airtime(LONGEST_ACK)
            } else {
                self.config.airtime(self.config.max_frame)
            };
            self.quiet = self.quiet.max(now + self.config.rtt + next);
        }
    }

    /// The far side takes nothing for now: it says when it does again, and is asked in case that was lost.
    pub(super) fn await_credit(&mut self, id: LinkId, now: Duration) {
        let draw = self.dice.draw();
        if let Some(link) = self.links.get_mut(&id)
            && link.out.poll.is_none()
            && link.out.is_blocked()
        {
            let wait = link.rto.probe(link.out.shut, draw);
            link.out.poll = Some(Poll { left: None, deadline: Some(now + wait) });
        }
    }

    /// When [`expire`](Self::expire) or [`transmit`](Self::transmit) has something to do by the clock.
    pub fn timeout(&self, now: Duration) -> Option<Duration> {
        let mut first: Option<Duration> = None;
        let mut at = |time: Duration| first = Some(first.map_or(time, |f| f.min(time)));
        let waiting = !self.raws.is_empty()
            || !self.resets.is_empty()
            || self
                .links
                .values()
                .any(|link| link.broken.is_none() && (link.poll_due || !link.out.is_idle()));
        if waiting && self.quiet > now {
            at(self.quiet);
        }
        for link in self.links.values().filter(|link| link.broken.is_none()) {
            if let Some(deadline) = link.out.poll.as_ref().and_then(|poll| poll.deadline) {
                at(deadline);
            }
            link.out.held_until().filter(|until| *until > now).into_iter().for_each(&mut at);
            // Later, the next question in vain decides.
            let patience = self.config.patience;
            let in_time = |at: &Duration| *at > now || link.is_forsaken(now, patience);
            link.given_up(patience).filter(in_time).into_iter().for_each(&mut at);
        }
        first
    }

    /// Does what is due: repeats polls, gives up far sides that are silent.
    pub fn expire(&mut self, now: Duration) {
        if self.quiet <= now {
            self.quiet = Duration::ZERO;
        }
        let late = |link: &super::link::LinkState| {
            let poll = link.out.poll.as_ref().and_then(|poll| poll.deadline).is_some_and(|d| d <= now);
            link.broken.is_none() && (poll || link.is_forsaken(now, self.config.patience))
        };
        let ids: Vec<_> = self.links.iter().filter(|(_, link)| late(link)).map(|(id, _)| *id).collect();
        for id in ids {
            self.overdue(id, now);
        }
        // Of those that have got something to send while the far side takes nothing.
        let blocked = |link: &super::link::LinkState| link.broken.is_none() && link.out.is_blocked();
        let ids: Vec<_> = self.links.iter().filter(|(_, link)| blocked(link)).map(|(id, _)| *id).collect();
        for id in ids {
            self.await_credit(id, now);
        }
    }

    fn overdue(&mut self, id: LinkId, now: Duration) {
        let patience = self.config.patience;
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.is_forsaken(now, patience) {
            self.break_link(id, Broken::Vanished);
            return;
        }
        link.out.tries += 1;
        if link.dialled && !link.heard {
            link.out.repeat_first();
            return;
        }
        if let Some(poll) = &mut link.out.poll {
            *poll = Poll::default();
        }
        link.poll_due = true;
    }
}
