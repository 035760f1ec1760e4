//! A day of packets through chains, in virtual time: real packets with the delays that clients draw, opened and released
//! as a hop does it. Hops keep packets for their delay and nothing else, so each packet's way can be walked by itself.

use std::time::Duration;

use meow_core::cover::{Look, Moments};
use meow_core::crypto::{Random as _, SeededRandom};
use meow_core::onion::{Delay, HopId, OnionClass, Outcome, Step, seal_with_reply};
use meow_core::policy::Pause;

use crate::chain::{Server, servers};

/// Who sends how, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct World {
    pub(crate) clients: usize,
    pub(crate) relays: usize,
    /// Servers of a chain, the mailbox's included.
    pub(crate) hops: usize,
    /// The mean delay at each server.
    pub(crate) delay: Duration,
    /// The mean pause between two messages of a client.
    pub(crate) every: f64,
    /// The mean pause between two moments of cover traffic, in whole seconds: to whom a client writes goes one packet at each,
    /// with a message that waits or with none, and nothing at other times. None without.
    pub(crate) cover: Option<u32>,
    /// The mean pause between two loop packets of a client, in whole seconds: to its own mailbox server, and no message. None
    /// without.
    pub(crate) loops: Option<u32>,
    /// Every second client has nothing to say.
    pub(crate) half_silent: bool,
    pub(crate) lasts: f64,
}

/// One packet and its answer, as all who passed it could see it.
pub(crate) struct Trip {
    pub(crate) client: usize,
    /// Whose mailbox it went to; a loop goes to none.
    pub(crate) mailbox: Option<usize>,
    /// The servers in order, the mailbox's last.
    pub(crate) there: Vec<usize>,
    /// Those of the way back, the first one of the way there last.
    pub(crate) back: Vec<usize>,
    pub(crate) sent: f64,
    /// When the last server served it.
    pub(crate) served: f64,
    /// When the answer was back.
    pub(crate) answered: f64,
}

/// Evenly from 0 to 1, both excluded.
pub(crate) fn even(random: &mut SeededRandom) -> f64 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes).unwrap();
    (f64::from(u32::from_le_bytes(bytes)) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

pub(crate) fn below(n: usize, random: &mut SeededRandom) -> usize {
    (even(random) * n as f64) as usize
}

/// Numbers below `n` in any order.
pub(crate) fn shuffled(n: usize, random: &mut SeededRandom) -> Vec<usize> {
    let mut all: Vec<_> = (0..n).collect();
    for last in (1..n).rev() {
        all.swap(last, below(last + 1, random));
    }
    all
}

/// Moments with exponential pauses.
fn moments(pause: f64, lasts: f64, random: &mut SeededRandom) -> Vec<f64> {
    let mut now = 0.0;
    let next = std::iter::from_fn(|| {
        now -= even(random).ln() * pause;
        (now < lasts).then_some(now)
    });
    next.collect()
}

impl World {
    /// Everybody writes to one other, and is written to by one.
    pub(crate) fn partner(&self, client: usize) -> usize {
        (client + 1) % self.clients
    }

    /// All trips, by the time when they began.
    pub(crate) fn trips(&self, seed: u64) -> Vec<Trip> {
        let mut random = SeededRandom::new(seed);
        let relays = servers(self.relays, &mut random);
        let mut trips = Vec::new();
        for client in 0..self.clients {
            self.messages(&relays, client, &mut trips, &mut random);
            if let Some(secs) = self.loops {
                self.loops(&relays, client, Pause::from_secs(secs).unwrap(), &mut trips, &mut random);
            }
        }
        trips.sort_by(|a, b| a.sent.total_cmp(&b.sent));
        trips
    }

    /// Whether a client has anything to say.
    pub(crate) fn writes(&self, client: usize) -> bool {
        !self.half_silent || client.is_multiple_of(2)
    }

    /// What a client sends to whom it writes: its messages when they are written, or at the moments of cover traffic, as a
    /// client takes them: one packet, and none before its answer is back.
    fn messages(&self, relays: &[Server], client: usize, trips: &mut Vec<Trip>, random: &mut SeededRandom) {
        let every = if self.writes(client) { self.every } else { f64::INFINITY };
        let to = Some(self.partner(client));
        let Some(pause) = self.cover.map(|secs| Pause::from_secs(secs).unwrap()) else {
            let written = moments(every, self.lasts, random);
            trips.extend(written.into_iter().map(|at| self.trip(relays, client, to, at, random)));
            return;
        };
        let (mut now, mut moments) = (0, Moments::begin(pause, 0, random).unwrap());
        while (now as f64) < self.lasts * 1000.0 {
            match moments.look(now, random).unwrap() {
                Look::Wait(until) => now = until,
                Look::Now => {
                    // Of the message that waits longest, or of none: nothing here depends on it.
                    let trip = self.trip(relays, client, to, now as f64 / 1000.0, random);
                    now = (trip.answered * 1000.0).ceil() as u64;
                    trips.push(trip);
                    moments.pass(now, random).unwrap();
                }
            }
        }
    }

    /// Loops as a client sends them: by the type that says when.
    fn loops(
        &self,
        relays: &[Server],
        client: usize,
        pause: Pause,
        trips: &mut Vec<Trip>,
        random: &mut SeededRandom,
    ) {
        let (mut now, mut moments) = (0, Moments::begin(pause, 0, random).unwrap());
        while (now as f64) < self.lasts * 1000.0 {
            match moments.look(now, random).unwrap() {
                Look::Wait(until) => now = until,
                Look::Now => trips.push(self.trip(relays, client, None, now as f64 / 1000.0, random)),
            }
        }
    }

    fn trip(
        &self,
        relays: &[Server],
        client: usize,
        mailbox: Option<usize>,
        sent: f64,
        random: &mut SeededRandom,
    ) -> Trip {
        let home = mailbox.unwrap_or(client) % relays.len();
        let others = |random: &mut SeededRandom| {
            let mut others = shuffled(relays.len(), random);
            others.retain(|relay| *relay != home);
            others
        };
        let mut there = others(random);
        there.truncate(self.hops - 1);
        there.push(home);
        // Drawn anew, to the same first server.
        let mut back = others(random);
        back.retain(|relay| *relay != there[0]);
        back.truncate(self.hops.saturating_sub(2));
        back.push(there[0]);

        let delays = Delay::draw_all(there.len() + back.len(), self.delay, random).unwrap();
        let steps: Vec<Step> = there
            .iter()
            .chain(&back)
            .zip(&delays)
            .map(|(relay, delay)| Step { delay: *delay, ..relays[*relay].step(0) })
            .collect();
        let (out, home_again) = steps.split_at(there.len());
        let (packet, pending) =
            seal_with_reply(OnionClass::Small, out, home_again, b"a request", random).unwrap();

        let (mut now, mut packet) = (sent, packet);
        for (at, relay) in there[..self.hops - 1].iter().enumerate() {
            let (next, onward) = pass(&relays[*relay], packet, &mut now, random);
            assert_eq!(next, Some(relays[there[at + 1]].id));
            packet = onward;
        }
        now += link(random);
        let opened = relays[home].open(&packet).unwrap();
        now += opened.delay().duration().as_secs_f64();
        let Outcome::Deliver(delivery) = opened.release().unwrap() else { panic!("not at its end") };
        let served = now;
        let mut packet = delivery.reply.unwrap().answer(OnionClass::Small, b"done").unwrap();
        for (at, relay) in back.iter().enumerate() {
            let (next, onward) = pass(&relays[*relay], packet, &mut now, random);
            assert_eq!(next, back.get(at + 1).map(|relay| relays[*relay].id));
            packet = onward;
        }
        now += link(random);
        assert_eq!(pending.open(packet).unwrap(), b"done");
        Trip { client, mailbox, there, back, sent, served, answered: now }
    }
}

/// What a link takes.
fn link(random: &mut SeededRandom) -> f64 {
    0.005 - even(random).ln() * 0.02
}

/// A packet's stop at a server: where it goes then, or nowhere as an answer to the one that waits.
fn pass(
    relay: &Server,
    packet: Vec<u8>,
    now: &mut f64,
    random: &mut SeededRandom,
) -> (Option<HopId>, Vec<u8>) {
    *now += link(random);
    let opened = relay.open(&packet).unwrap();
    *now += opened.delay().duration().as_secs_f64();
    let (next, out) = match opened.release().unwrap() {
        Outcome::Forward { next, packet } => (Some(next), packet),
        Outcome::Reply { packet, .. } => (None, packet),
        other => panic!("{other:?}"),
    };
    // Nothing about its length tells one packet from another.
    assert_eq!(out.len(), OnionClass::Small.len());
    (next, out)
}
