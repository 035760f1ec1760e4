//! A client that does what it likes with a channel: it speaks the binding itself, at a broker in this process.

use std::time::Duration;

use meow_core::crypto::SystemRandom;
use meow_core::transport::Endpoint;
use meow_testkit::mqtt::{Broker, Seen};
use meow_transport_mqtt::wire::{
    Announcement, Caller, Direction, HELLO, Item, Items, Prefix, Reference, open_record, seal_record,
};
use tokio::time::{sleep, timeout};

use super::PATIENCE;

pub(crate) struct Peer {
    up: String,
    reply: String,
    to_server: Direction,
    to_client: Direction,
    /// Of the next record.
    pub(crate) number: u64,
}

impl Peer {
    /// Finds the server and opens a channel, as anybody can who holds its reference.
    pub(crate) async fn open(broker: &Broker, server: &Endpoint) -> Self {
        Self::try_open(broker, server, PATIENCE).await.expect("an answer to a hello")
    }

    /// `None` when no answer comes in this time.
    pub(crate) async fn try_open(broker: &Broker, server: &Endpoint, patience: Duration) -> Option<Self> {
        let (reference, prefix) = (Reference::new(*server.server().unwrap()), Prefix::of(server).unwrap());
        let announced = |seen: &Seen| Announcement::open(&reference, &seen.payload).ok();
        let announcement = broker.seen().iter().rev().find_map(announced).expect("an announcement");
        let caller = Caller::new(&mut SystemRandom).unwrap();
        let (bytes, hello) = caller.hello(&reference, &announcement, &mut SystemRandom).unwrap();
        broker.leave(&prefix.topic(announcement.inbox), bytes, false);
        let reply = prefix.topic(caller.reply);
        let answering = async {
            loop {
                let seen = broker.seen();
                let answers = seen.iter().filter(|seen| seen.topic == reply && seen.payload.len() == HELLO);
                let open = |seen: &Seen| caller.answered(&reference, &hello, &seen.payload).ok();
                match answers.rev().find_map(open) {
                    Some(opened) => return opened,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let (up, to_server, to_client) = timeout(patience, answering).await.ok()?;
        Some(Self { up: prefix.topic(up), reply, to_server, to_client, number: 0 })
    }

    /// A record with this number.
    pub(crate) fn record(&self, number: u64, items: &[u8]) -> Vec<u8> {
        seal_record(&self.to_server, number, items).unwrap()
    }

    pub(crate) fn send_as(&self, broker: &Broker, number: u64, items: &[u8]) {
        broker.leave(&self.up, self.record(number, items), false);
    }

    pub(crate) fn send(&mut self, broker: &Broker, items: &[u8]) {
        self.send_as(broker, self.number, items);
        self.number += 1;
    }

    pub(crate) fn say(&mut self, broker: &Broker, items: &[Item<'_>]) {
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.write(&mut bytes));
        self.send(broker, &bytes);
    }

    /// What the server has said on this channel, in order, as far as the broker remembers it.
    pub(crate) fn heard(&self, broker: &Broker) -> Vec<(u64, Vec<u8>)> {
        let mine = |seen: Seen| {
            (seen.topic == self.reply).then(|| open_record(&self.to_client, &seen.payload).ok())?
        };
        broker.seen().into_iter().filter_map(mine).collect()
    }

    /// Waits until the server has said something of which this holds.
    pub(crate) async fn hears(&self, broker: &Broker, what: impl Fn(&Item<'_>) -> bool) {
        let waiting = async {
            while !self
                .heard(broker)
                .iter()
                .any(|(_, items)| Items::new(items).any(|item| item.is_ok_and(|item| what(&item))))
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("the server says it");
    }
}
