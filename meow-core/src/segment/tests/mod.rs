//! Machines on a medium that loses, repeats and reorders, on virtual time.

mod crowd;
mod ending;
mod exchange;
mod hostile;
mod thin;

use std::time::Duration;

use bytes::Bytes;

use super::rto::Dice;
use super::*;
use crate::crypto::SeededRandom;
use crate::transport::{LinkProfile, Pattern};

/// What a medium does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Harm {
    lose: u64,
    repeat: u64,
    reorder: u64,
}

struct World {
    stations: Vec<Machine>,
    /// Until when a station sends.
    busy: Vec<Option<Duration>>,
    under_way: Vec<(Duration, usize, Bytes)>,
    now: Duration,
    harm: Harm,
    dice: Dice,
    random: SeededRandom,
    heard: Vec<Bytes>,
    echo: bool,
}

fn config(max_frame: usize) -> Config {
    let mut profile = LinkProfile::new(Pattern::Bus, max_frame);
    (profile.reliable, profile.bit_rate, profile.rtt) = (false, 100_000, Duration::from_millis(5));
    Config::from_profile(&profile).unwrap()
}

impl World {
    fn new(stations: usize, config: &Config, seed: u64, harm: Harm) -> Self {
        let machine =
            |n| Machine::new(config.clone(), &mut SeededRandom::new(seed * 100 + n as u64)).unwrap();
        Self {
            stations: (0..stations).map(machine).collect(),
            busy: vec![None; stations],
            under_way: Vec::new(),
            now: Duration::ZERO,
            harm,
            dice: Dice(seed),
            random: SeededRandom::new(seed + 7),
            heard: Vec::new(),
            echo: false,
        }
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.dice.draw() % 1000 < thousandths
    }

    /// One event. False when nothing will ever happen by itself.
    fn step(&mut self) -> bool {
        for n in 0..self.stations.len() {
            self.stations[n].expire(self.now);
            if self.busy[n].is_none()
                && let Some(frame) = self.stations[n].transmit(self.now)
            {
                let end = self.now + self.stations[n].config.airtime(frame.len());
                self.busy[n] = Some(end);
                self.heard.push(frame.clone());
                let echo = self.echo;
                for to in (0..self.stations.len()).filter(|to| *to != n || echo) {
                    let copies = if self.chance(self.harm.repeat) { 2 } else { 1 };
                    for _ in 0..copies {
                        if !self.chance(self.harm.lose) {
                            let late = if self.chance(self.harm.reorder) { self.dice.draw() % 60 } else { 0 };
                            self.under_way.push((end + Duration::from_millis(1 + late), to, frame.clone()));
                        }
                    }
                }
            }
        }
        for station in &mut self.stations {
            station.expire(self.now);
        }
        let times = (self.under_way.iter().map(|(at, ..)| *at))
            .chain(self.busy.iter().flatten().copied())
            .chain(self.stations.iter().filter_map(|s| s.timeout(self.now)));
        let Some(next) = times.min() else { return false };
        self.now = next.max(self.now);
        for n in 0..self.stations.len() {
            if self.busy[n].is_some_and(|end| end <= self.now) {
                self.busy[n] = None;
                self.stations[n].sent(self.now);
            }
        }
        let (arrived, rest) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= self.now);
        self.under_way = rest;
        let arrived: Vec<_> = arrived;
        for (_, to, frame) in arrived {
            self.stations[to].receive(self.now, &frame);
        }
        true
    }

    fn send(&mut self, station: usize, link: LinkId, packet: Bytes) {
        self.stations[station].send(link, packet, self.now, &mut self.random).unwrap();
    }

    fn finish(&mut self, station: usize, link: LinkId) {
        self.stations[station].finish(link, &mut self.random).unwrap();
    }

    /// Steps until a station has something to read on a link.
    fn read(&mut self, station: usize, link: LinkId) -> Taken {
        loop {
            match self.stations[station].take(link) {
                Taken::Nothing => assert!(self.step(), "nothing will ever come"),
                taken => return taken,
            }
        }
    }

    fn accepted(&mut self, station: usize) -> LinkId {
        loop {
            if let Some(link) = self.stations[station].accept() {
                return link;
            }
            assert!(self.step(), "nobody will ever come");
        }
    }

    fn run_out(&mut self) {
        while self.step() {}
    }

    fn drop_link(&mut self, station: usize, link: LinkId) {
        self.stations[station].drop_tx(link);
        self.stations[station].drop_rx(link);
    }
}

fn packet(length: usize, salt: u8) -> Bytes {
    (0..length).map(|n| (n as u8).wrapping_mul(31).wrapping_add(salt)).collect()
}

/// A question and its answer, to the end, and nothing left of either.
fn exchange(world: &mut World, ask: &[usize], answer: &[usize]) {
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    for (n, length) in ask.iter().enumerate() {
        world.send(0, near, packet(*length, n as u8));
    }
    world.finish(0, near);
    let far = world.accepted(1);
    for (n, length) in ask.iter().enumerate() {
        assert_eq!(world.read(1, far), Taken::Packet(packet(*length, n as u8)));
    }
    assert_eq!(world.read(1, far), Taken::End);
    for (n, length) in answer.iter().enumerate() {
        world.send(1, far, packet(*length, 100 + n as u8));
    }
    world.finish(1, far);
    for (n, length) in answer.iter().enumerate() {
        assert_eq!(world.read(0, near), Taken::Packet(packet(*length, 100 + n as u8)));
    }
    assert_eq!(world.read(0, near), Taken::End);
    world.drop_link(0, near);
    world.drop_link(1, far);
    world.run_out();
    for station in &world.stations {
        assert_eq!((station.open_links(), station.memory(), station.tags.len()), (0, 0, 0));
    }
}
