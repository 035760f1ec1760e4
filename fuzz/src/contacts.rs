//! The contact machine, fed with items from its mailbox.

use meow_core::contact::{Contact, Outgoing, Received, Status};
use meow_core::crypto::SeededRandom;
use meow_core::message::Content;
use meow_core::policy::Receipts;
use meow_core::wire::Text;

use crate::{Seed, Target, items, seed, sequence, world};

/// The targets of this module.
pub const TARGETS: &[Target] =
    &[Target { name: "contact_items", run: contact_items, seeds: contact_items_seeds }];

const NOW_MS: u64 = world::NOW * 1000;

/// A contact whose card is out, and its randomness.
fn issuer() -> (Contact, SeededRandom) {
    let (file, secrets) = world::card();
    (Contact::issue(secrets, file.card().clone()), world::random(90))
}

fn taker() -> (Contact, Outgoing, SeededRandom) {
    let ((file, _), secrets, mut random) = (world::card(), world::secrets(91), world::random(92));
    let lanes = secrets.first_list(&world::signing(93).public(), world::servers()).expect("a list");
    let (kem, greeting) = (file.kem().expect("the file form"), Text::new("miau").expect("short"));
    let (contact, opening) =
        Contact::take(secrets, lanes, file.card(), kem, greeting, &mut random).expect("takes");
    (contact, opening, random)
}

/// Items to who handed out a card, accepted when at least one opens. An empty one stands for "the receiver sends".
pub fn contact_items(data: &[u8]) -> bool {
    let (mut contact, mut random) = issuer();
    let mut accepted = false;
    for item in items(data) {
        if item.is_empty() {
            let _ = contact.send(&Content::text(NOW_MS, "back").expect("short"), &mut random);
            continue;
        }
        // As a driver does: what does not open changes nothing.
        let mut changed = contact.clone();
        if let Ok(Received::Opened(_)) = changed.receive(item, NOW_MS, &mut random) {
            let again = changed.clone().receive(item, NOW_MS, &mut random);
            assert!(!matches!(again, Ok(Received::Opened(_))), "an item opens once");
            contact = changed;
            accepted = true;
        }
    }
    accepted
}

/// Both sides, as far as the seeds need them: the taker's items are what the seeds hold.
struct Talk {
    issuer: (Contact, SeededRandom),
    taker: (Contact, SeededRandom),
    /// What the issuer got so far; empty where it sent a text by itself.
    items: Vec<Vec<u8>>,
}

impl Talk {
    /// To where both are established.
    fn established() -> Self {
        let (taker, opening, random) = taker();
        let mut talk = Self { issuer: issuer(), taker: (taker, random), items: Vec::new() };
        talk.issuer_gets(opening.item);
        assert_eq!(talk.issuer.0.status(), Status::Established);
        talk
    }

    /// Hands an item over, and whatever either side answers.
    fn issuer_gets(&mut self, item: Vec<u8>) {
        let mut waiting = vec![item];
        while let Some(item) = waiting.pop() {
            let got = self.issuer.0.receive(&item, NOW_MS, &mut self.issuer.1).expect("has randomness");
            self.items.push(item);
            let Received::Opened(output) = got else { continue };
            for back in output.items {
                waiting.extend(self.taker_gets(&back.item));
            }
        }
    }

    fn taker_gets(&mut self, item: &[u8]) -> Vec<Vec<u8>> {
        match self.taker.0.receive(item, NOW_MS, &mut self.taker.1).expect("has randomness") {
            Received::Opened(output) => output.items.into_iter().map(|out| out.item).collect(),
            _ => Vec::new(),
        }
    }

    fn taker_sends(&mut self, content: &Content) -> Vec<u8> {
        self.taker.0.send(content, &mut self.taker.1).expect("established").item
    }

    fn issuer_sends(&mut self) {
        let text = Content::text(NOW_MS, "back").expect("short");
        let out = self.issuer.0.send(&text, &mut self.issuer.1).expect("established");
        self.items.push(Vec::new());
        self.taker_gets(&out.item);
    }
}

/// Seeds of [`contact_items`].
pub fn contact_items_seeds() -> Vec<Seed> {
    let text = |t: &str| Content::text(NOW_MS, t).expect("short");
    let (_, opening, _) = taker();

    let mut talk = Talk::established();
    for n in 0..3 {
        let item = talk.taker_sends(&text(&format!("number {n}")));
        talk.issuer_gets(item);
        talk.issuer_sends();
    }
    let receipts = Receipts { decrypted: true, read: true };
    let receipt = talk.taker.0.take_receipt(receipts, &mut talk.taker.1).expect("has randomness");
    talk.issuer_gets(receipt.expect("the issuer wrote").item);

    let mut gap = Talk::established();
    let (first, second) = (gap.taker_sends(&text("one")), gap.taker_sends(&text("two")));
    gap.issuer_gets(second);
    gap.issuer_gets(first.clone());
    gap.issuer_gets(first);

    let mut renewal = Talk::established();
    let fresh = renewal.taker.0.begin_renewal(&mut renewal.taker.1).expect("established");
    renewal.issuer_gets(fresh.item);
    let item = renewal.taker_sends(&text("after the renewal"));
    renewal.issuer_gets(item);

    let mut rotation = Talk::established();
    let mode = rotation.taker.0.set_deniable(true, &mut rotation.taker.1).expect("established");
    rotation.issuer_gets(mode.expect("a new wish").item);
    let (lkp, random) = (world::signing(94), &mut rotation.taker.1);
    let lookup =
        rotation.taker.0.begin_rotation(lkp, [9; 16], world::servers(), random).expect("established");
    rotation.issuer_gets(lookup.item);

    let flipped = |item: &[u8], at: usize| [&item[..at], &[item[at] ^ 1], &item[at + 1..]].concat();
    let mut tampered = talk.items.clone();
    let last = tampered.len() - 1;
    tampered[last] = flipped(&tampered[last], 40);
    vec![
        seed("opening", sequence([&opening.item])),
        seed("established", sequence(&Talk::established().items)),
        seed("talk", sequence(&talk.items)),
        seed("gap-and-duplicate", sequence(&gap.items)),
        seed("renewal", sequence(&renewal.items)),
        seed("mode-and-rotation", sequence(&rotation.items)),
        seed("last-tampered", sequence(&tampered)),
        seed("bad-before-the-opening", sequence(talk.items.iter().skip(1))),
        seed("bad-opening", sequence([&flipped(&opening.item, 1200)])),
        seed("bad-suite", sequence([&vec![4; 96], &vec![0x12; 96]])),
        seed("bad-empty", []),
    ]
}
