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

/// Items of one byte are no items, but tell the receiver to send a text or to begin a renewal.
const SEND: u8 = 0;
const RENEW: u8 = 1;

/// Items to who handed out a card, accepted when at least one opens.
pub fn contact_items(data: &[u8]) -> bool {
    let (mut contact, mut random) = issuer();
    let mut accepted = false;
    for item in items(data) {
        match item {
            [SEND] => drop(contact.send(&text("back"), &mut random)),
            [RENEW] => drop(contact.begin_renewal(&mut random)),
            _ => {
                // As a driver does: what does not open changes nothing.
                let mut changed = contact.clone();
                if let Ok(Received::Opened(_)) = changed.receive(item, NOW_MS, &mut random) {
                    let again = changed.clone().receive(item, NOW_MS, &mut random);
                    assert!(!matches!(again, Ok(Received::Opened(_))), "an item opens once");
                    contact = changed;
                    accepted = true;
                }
            }
        }
    }
    accepted
}

fn text(text: &str) -> Content {
    Content::text(NOW_MS, text).expect("short")
}

/// Both sides, as far as the seeds need them: the taker's items are what the seeds hold.
struct Talk {
    issuer: (Contact, SeededRandom),
    taker: (Contact, SeededRandom),
    /// What the issuer got so far, and what it was told to do.
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

    /// The item that the issuer sends.
    fn issuer_sends(&mut self) -> Vec<u8> {
        self.items.push(vec![SEND]);
        self.issuer.0.send(&text("back"), &mut self.issuer.1).expect("established").item
    }

    fn issuer_renews(&mut self) -> Vec<u8> {
        self.items.push(vec![RENEW]);
        self.issuer.0.begin_renewal(&mut self.issuer.1).expect("established").item
    }

    fn taker_renews(&mut self) -> Vec<u8> {
        self.taker.0.begin_renewal(&mut self.taker.1).expect("established").item
    }

    /// The taker says what it has of the issuer.
    fn taker_acknowledges(&mut self) {
        let receipts = Receipts { decrypted: true, read: true };
        let receipt = self.taker.0.take_receipt(receipts, &mut self.taker.1).expect("has randomness");
        self.issuer_gets(receipt.expect("the issuer wrote").item);
    }
}

fn talk(thin: bool) -> Talk {
    let mut talk = Talk::established();
    talk.taker.0.set_thin(thin);
    for n in 0..3 {
        let item = talk.taker_sends(&text(&format!("number {n}")));
        talk.issuer_gets(item);
        let back = talk.issuer_sends();
        talk.taker_gets(&back);
    }
    talk.taker_acknowledges();
    talk
}

/// Losses, duplicates and late arrivals, both ways.
fn gaps(thin: bool) -> Talk {
    let mut talk = Talk::established();
    talk.taker.0.set_thin(thin);
    let mut sent: Vec<_> = (0..7).map(|n| talk.taker_sends(&text(&format!("number {n}")))).collect();
    for n in [6, 2, 0, 4, 3, 3] {
        talk.issuer_gets(sent[n].clone());
    }
    // once more under its sequence, as after a loss at the sender's
    let again = talk.taker.0.resend(3, &text("number 1"), &mut talk.taker.1);
    sent.extend(again.map(|out| out.item));
    talk.issuer_gets(sent[sent.len() - 1].clone());
    let back: Vec<_> = (0..3).map(|_| talk.issuer_sends()).collect();
    talk.taker_gets(&back[0]);
    talk.taker_gets(&back[2]);
    talk.taker_acknowledges();
    talk.taker_gets(&back[1]);
    talk.taker_acknowledges();
    talk
}

/// One side begins, then the other, then both at once; stragglers of the ratchet before come late.
fn renewals(thin: bool) -> Talk {
    let mut talk = Talk::established();
    talk.taker.0.set_thin(thin);
    let straggler = talk.taker_sends(&text("before the renewal"));
    let fresh = talk.taker_renews();
    talk.issuer_gets(fresh.clone());
    talk.issuer_gets(fresh);
    talk.issuer_gets(straggler);
    let item = talk.taker_sends(&text("after the renewal"));
    talk.issuer_gets(item);
    let fresh = talk.issuer_renews();
    for item in talk.taker_gets(&fresh) {
        talk.issuer_gets(item);
    }
    let (ours, theirs) = (talk.issuer_renews(), talk.taker_renews());
    talk.issuer_gets(theirs);
    for item in talk.taker_gets(&ours) {
        talk.issuer_gets(item);
    }
    talk
}

fn statements() -> Talk {
    let mut talk = Talk::established();
    let mode = talk.taker.0.set_deniable(true, &mut talk.taker.1).expect("established");
    talk.issuer_gets(mode.expect("a new wish").item);
    let (taker, random) = &mut talk.taker;
    let plan = taker.plan_on(world::two_servers());
    let lookup = taker.begin_rotation(plan, random).expect("established").expect("nobody else moves them");
    talk.issuer_gets(lookup.item);
    for content in [Content::Unknown { kind: 77, body: Default::default() }, Content::Empty] {
        let item = talk.taker_sends(&content);
        talk.issuer_gets(item);
    }
    talk
}

/// The taker has a message that the issuer, restored from an old copy, did not send.
fn behind() -> Talk {
    let mut talk = Talk::established();
    let item = talk.taker_sends(&text("before"));
    talk.issuer_gets(item);
    // The same ratchet key is used before and after the copy.
    let back = talk.issuer_sends();
    talk.taker_gets(&back);
    let old = (talk.issuer.0.clone(), talk.issuer.1.clone(), talk.items.clone());
    let back = talk.issuer_sends();
    talk.taker_gets(&back);
    (talk.issuer, talk.items) = ((old.0, old.1), old.2);
    let item = talk.taker_sends(&text("after"));
    talk.issuer_gets(item);
    talk
}

/// Seeds of [`contact_items`].
pub fn contact_items_seeds() -> Vec<Seed> {
    let (_, opening, _) = taker();
    let flipped = |item: &[u8], at: usize| [&item[..at], &[item[at] ^ 1], &item[at + 1..]].concat();
    let talk = talk(false);
    let mut tampered = talk.items.clone();
    let last = tampered.len() - 1;
    tampered[last] = flipped(&tampered[last], 40);
    vec![
        seed("opening", sequence([&opening.item])),
        seed("established", sequence(&Talk::established().items)),
        seed("talk", sequence(&talk.items)),
        seed("gaps", sequence(&gaps(false).items)),
        seed("renewals", sequence(&renewals(false).items)),
        seed("thin-talk", sequence(&self::talk(true).items)),
        seed("thin-gaps", sequence(&gaps(true).items)),
        seed("thin-renewals", sequence(&renewals(true).items)),
        seed("statements", sequence(&statements().items)),
        seed("behind", sequence(&behind().items)),
        seed("last-tampered", sequence(&tampered)),
        seed("bad-before-the-opening", sequence(talk.items.iter().skip(1))),
        seed("bad-opening", sequence([&flipped(&opening.item, 1200)])),
        seed("bad-suite", sequence([&vec![4; 96], &vec![0x12; 96]])),
        seed("bad-thin", sequence([&vec![4; 45], &vec![0x12; 109], &vec![7; 221]])),
        seed("bad-empty", []),
    ]
}
