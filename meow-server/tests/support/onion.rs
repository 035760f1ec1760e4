//! A client that sends everything through a chain, and dials the first server only.

use meow_core::crypto::SystemRandom;
use meow_core::onion::{Delay, HopId, OnionClass, PendingReply, Step, seal_with_reply};
use meow_core::request::{Answer, ClearAnswer, RequestKind};
use meow_core::transport::Frame;

use super::Client;

/// A chain: the first client dials, the last one's server is asked.
pub struct Chain {
    pub entry: Client,
    pub last: Client,
    pub there: Vec<Step>,
    pub back: Vec<Step>,
}

/// A server as a step of a route.
pub fn step(client: &Client, delay: Delay) -> Step {
    Step { id: HopId::of(&client.server), number: client.key.number, key: client.key.key, delay }
}

impl Chain {
    /// The way through these servers, and back the other way round.
    pub fn new(clients: &[&Client]) -> Self {
        let there: Vec<_> = clients.iter().map(|client| step(client, Delay::NONE)).collect();
        let mut back: Vec<_> = there.iter().rev().skip(1).copied().collect();
        if back.is_empty() {
            back.clone_from(&there);
        }
        let (entry, last) = (clients[0].clone(), clients[clients.len() - 1].clone());
        Self { entry, last, there, back }
    }

    /// The packet that carries these bytes.
    pub fn wrap(&self, class: OnionClass, request: &[u8]) -> (Vec<u8>, PendingReply) {
        seal_with_reply(class, &self.there, &self.back, request, &mut SystemRandom).unwrap()
    }

    /// Sends bytes to the last server, and brings back what it says.
    pub async fn exchange(&self, class: OnionClass, request: &[u8]) -> Vec<u8> {
        let (packet, pending) = self.wrap(class, request);
        let answer = self.entry.exchange(packet).await.unwrap();
        pending.open(answer.to_vec()).unwrap_or_else(|_| panic!("no answer, but {:?}", clear(&answer)))
    }

    pub async fn ask(&self, class: OnionClass, kind: RequestKind, answer: u8) -> Answer {
        let (request, pending) = self.last.seal(kind, answer);
        pending.open(&self.exchange(class, &request).await).unwrap()
    }
}

/// What a server said in the clear.
pub fn clear(answer: &Frame) -> Option<ClearAnswer> {
    ClearAnswer::from_packet(answer).ok()
}
