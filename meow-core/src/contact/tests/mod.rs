//! Two people, a pair of mailboxes, and what can go wrong between them.

mod attacks;
mod chaos;
mod cover;
mod first;
mod flow;
mod renewal;
mod renewals;
mod sim;
mod statements;
mod thin;

use super::*;
use crate::card::CardSecrets;
use crate::crypto::SeededRandom;
use crate::identity::{Master, RecoveryKeys};
use crate::lane::ServerRef;
use crate::message::Content;
use crate::wire::Text;

/// A contact with what its driver would store, and its mailbox.
pub(super) struct Side {
    pub(super) contact: Contact,
    pub(super) random: SeededRandom,
    /// What was sent to the other side and not fetched yet.
    pub(super) out: Vec<Vec<u8>>,
    pub(super) events: Vec<ContactEvent>,
    /// The log of the driver: content by sequence.
    pub(super) log: Vec<(u64, Content)>,
    pub(super) unreadable: usize,
    pub(super) duplicates: usize,
}

impl Side {
    fn new(contact: Contact, seed: u64) -> Self {
        Self {
            contact,
            random: SeededRandom::new(seed),
            out: Vec::new(),
            events: Vec::new(),
            log: Vec::new(),
            unreadable: 0,
            duplicates: 0,
        }
    }

    pub(super) fn send(&mut self, text: &str) -> u64 {
        let content = Content::text(1, text).unwrap();
        let out = self.contact.send(&content, &mut self.random).unwrap();
        self.log.push((out.seq, content));
        self.out.push(out.item);
        out.seq
    }

    /// Feeds one item, as a driver does: through storage, so that the state is what is serialised.
    pub(super) fn receive(&mut self, item: &[u8]) -> Received {
        let stored = postcard::to_stdvec(&self.contact).unwrap();
        let mut contact: Contact = postcard::from_bytes(&stored).unwrap();
        let received = contact.receive(item, 1_000, &mut self.random).unwrap();
        match &received {
            Received::Opened(output) => {
                self.contact = contact;
                self.out.extend(output.items.iter().map(|o| o.item.clone()));
                for event in &output.events {
                    if let ContactEvent::Resend { from, to } = event {
                        for seq in *from..=*to {
                            let known = self.log.iter().find(|(s, _)| *s == seq).map(|(_, c)| c.clone());
                            let content = known.unwrap_or(Content::Empty);
                            let out = self.contact.resend(seq, &content, &mut self.random).unwrap();
                            self.out.push(out.item);
                        }
                    }
                }
                self.events.extend(output.events.iter().cloned());
            }
            Received::Duplicate => self.duplicates += 1,
            Received::Unreadable => self.unreadable += 1,
        }
        received
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|e| match e {
                ContactEvent::Message { content, .. } => content.as_text().map(str::to_owned),
                _ => None,
            })
            .collect()
    }

    pub(super) fn has(&self, event: &ContactEvent) -> bool {
        self.events.contains(event)
    }
}

fn secrets(seed: u64) -> (CardSecrets, RecoveryKeys, SeededRandom) {
    let mut random = SeededRandom::new(seed);
    let master = Master::generate(&mut random).unwrap();
    let secrets = CardSecrets::generate(&master.root(0), &mut random).unwrap();
    (secrets, RecoveryKeys::of(&master, 0), random)
}

fn server(n: u8) -> Vec<ServerRef> {
    vec![ServerRef::new([n; 32], &["http://127.0.0.1:9".parse().unwrap()]).unwrap()]
}

/// Alice's card, taken by Bob; nothing has travelled yet.
pub(super) fn card_taken() -> (Side, Side) {
    let (a, keys_a, mut random) = secrets(1);
    let file = a.card(&keys_a.key(0).unwrap().unwrap(), server(1), 10_000, &mut random).unwrap();
    let alice = Side::new(Contact::issue(a, file.card().clone()), 11);
    let (b, keys_b, mut random) = secrets(2);
    let lanes = b.first_list(&keys_b.key(0).unwrap().unwrap(), server(2)).unwrap();
    let hello = Text::new("hello").unwrap();
    let (bob, opening) =
        Contact::take(b, lanes, file.card(), file.kem().unwrap(), hello, &mut random).unwrap();
    let mut bob = Side::new(bob, 12);
    bob.out.push(opening.item);
    (alice, bob)
}

/// Carries everything between both until nothing is under way.
pub(super) fn settle(a: &mut Side, b: &mut Side) {
    while !a.out.is_empty() || !b.out.is_empty() {
        for item in std::mem::take(&mut a.out) {
            b.receive(&item);
        }
        for item in std::mem::take(&mut b.out) {
            a.receive(&item);
        }
    }
}

/// Two established contacts.
pub(super) fn established() -> (Side, Side) {
    let (mut alice, mut bob) = card_taken();
    settle(&mut alice, &mut bob);
    assert_eq!((alice.contact.status(), bob.contact.status()), (Status::Established, Status::Established));
    (alice, bob)
}
