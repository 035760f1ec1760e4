//! Servers with keys, and a packet's way through them.

use std::time::Duration;

use meow_core::crypto::{DhSecret, SeededRandom};
use meow_core::onion::{
    Delay, Delivery, HopId, HopKey, OnionClass, Opened, Outcome, PendingReply, ReplySlot, Step,
    seal_with_reply,
};

/// A server: its id and online key.
pub(crate) struct Server {
    pub(crate) id: HopId,
    pub(crate) key: HopKey,
    number: u32,
}

impl Server {
    pub(crate) fn step(&self, delay: u64) -> Step {
        let delay = Delay::from_duration(Duration::from_millis(delay * 10));
        Step { id: self.id, number: self.number, key: *self.key.public(), delay }
    }

    pub(crate) fn open(&self, packet: &[u8]) -> Result<Opened, meow_core::crypto::CryptoError> {
        Opened::open(packet.to_vec(), &self.key)
    }

    pub(crate) fn peel(&self, packet: &[u8]) -> Outcome {
        self.open(packet).unwrap().release().unwrap()
    }

    pub(crate) fn forward(&self, packet: &[u8]) -> (HopId, Vec<u8>) {
        match self.peel(packet) {
            Outcome::Forward { next, packet } => (next, packet),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn deliver(&self, packet: &[u8]) -> Delivery {
        match self.peel(packet) {
            Outcome::Deliver(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn reply(&self, packet: &[u8]) -> (ReplySlot, Vec<u8>) {
        match self.peel(packet) {
            Outcome::Reply { slot, packet } => (slot, packet),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn servers(n: usize, random: &mut SeededRandom) -> Vec<Server> {
    let server = |i: usize| {
        let number = 0x0100 + i as u32;
        let key = HopKey::new(number, DhSecret::generate(random).unwrap());
        Server { id: HopId([i as u8 + 1; 16]), key, number }
    };
    (0..n).map(server).collect()
}

pub(crate) fn steps(servers: &[Server]) -> Vec<Step> {
    servers.iter().enumerate().map(|(i, server)| server.step(i as u64)).collect()
}

/// The way back: the same servers the other way round, without the last.
pub(crate) fn back(servers: &[Server]) -> Vec<Step> {
    let (last, before) = servers.split_last().unwrap();
    let before: Vec<_> = before.iter().rev().map(|server| server.step(3)).collect();
    if before.is_empty() { vec![last.step(0)] } else { before }
}

pub(crate) fn ask(
    class: OnionClass,
    servers: &[Server],
    request: &[u8],
    random: &mut SeededRandom,
) -> (Vec<u8>, PendingReply) {
    seal_with_reply(class, &steps(servers), &back(servers), request, random).unwrap()
}

/// The packet as each server of the chain gets it, and what the last one finds.
pub(crate) fn walk(servers: &[Server], packet: Vec<u8>) -> (Vec<Vec<u8>>, Delivery) {
    let (last, before) = servers.split_last().unwrap();
    let mut seen = vec![packet];
    for (i, server) in before.iter().enumerate() {
        let (next, packet) = server.forward(seen.last().unwrap());
        assert_eq!(next, servers[i + 1].id);
        seen.push(packet);
    }
    let delivery = last.deliver(seen.last().unwrap());
    (seen, delivery)
}
