//! What a contact, a server or somebody in between tries.

use super::super::*;
use super::sim::*;
use crate::crypto::SeededRandom;
use crate::message::{Body, Content, Receipt};
use crate::wire::{List, Text};

/// A message of `who` with whatever body, sealed with its real keys.
fn forge(sim: &mut Sim, who: Who, change: impl FnOnce(&mut Body)) -> Vec<u8> {
    let mut contact = sim.side(who).contact();
    let parties = contact.parties().unwrap();
    let mut body = Body {
        seq: contact.sent.next,
        epoch: 0,
        seen: contact.got.seen().upto,
        digest: contact.got.seen().short(),
        content: text("forged"),
        sig: None,
    };
    change(&mut body);
    body.sign(&parties, &contact.me.lane).unwrap();
    let ratchet = &mut contact.session.as_mut().unwrap().ratchet;
    let plain = body.to_padded(ratchet.overhead(true)).unwrap();
    ratchet.encrypt(&mut sim.random, true, &parties.associated_data(), &plain).unwrap()
}

fn give(sim: &mut Sim, who: Who, item: Vec<u8>) {
    sim.side(who).mailbox.push(item);
    sim.pull(who);
}

#[test]
fn a_lying_receipt_names_only_what_was_sent() {
    let mut sim = Sim::established(200);
    let seq = sim.send(Who::Bob, text("one")).unwrap();
    sim.alice.mailbox.clear();
    let also = List::new(vec![u64::MAX, 999, 1 << 40]).unwrap();
    let lie = Receipt { decrypted: u64::MAX, read: u64::MAX, also };
    let item = forge(&mut sim, Who::Alice, |b| b.content = Content::Receipt(lie));
    give(&mut sim, Who::Bob, item);
    // The contact itself may lie about what it has read, but of nothing that was never sent.
    assert_eq!(sim.bob.decrypted.iter().max(), Some(&seq));
    assert_eq!(sim.bob.read_upto, seq);
}

#[test]
fn a_server_cannot_make_receipts() {
    let mut sim = Sim::established(201);
    sim.send(Who::Bob, text("one")).unwrap();
    sim.alice.mailbox.clear();
    let before = sim.bob.disk.clone();
    let decrypted = sim.bob.decrypted.clone();
    let mut random = SeededRandom::new(1);
    for size in crate::request::ITEM_SIZES {
        for first in 0..=5 {
            let mut junk = vec![0; size];
            crate::crypto::Random::fill(&mut random, &mut junk).unwrap();
            junk[0] = first;
            give(&mut sim, Who::Bob, junk);
        }
    }
    for (_, item) in sim.capture.clone() {
        give(&mut sim, Who::Bob, item);
    }
    assert!(sim.bob.disk == before && sim.bob.decrypted == decrypted);
}

#[test]
fn a_huge_sequence_costs_nothing() {
    for seq in [1 << 62, u64::MAX, 0] {
        let mut sim = Sim::established(202);
        let item = forge(&mut sim, Who::Alice, |b| b.seq = seq);
        // Pulling also makes the receipt, which lists what is beyond the gap.
        give(&mut sim, Who::Bob, item);
        let shown = sim.bob.inbox.len();
        assert_eq!(shown, usize::from(seq == 1 << 62));
        assert!(sim.bob.disk.len() < 16_384);
    }
}

#[test]
fn a_fork_raises_the_alarm() {
    let mut sim = Sim::established(203);
    sim.send(Who::Bob, text("one")).unwrap();
    sim.settle();
    let item = forge(&mut sim, Who::Alice, |b| b.digest.0[0] ^= 1);
    give(&mut sim, Who::Bob, item);
    assert!(sim.bob.events.contains(&ContactEvent::Fork));
}

#[test]
fn an_unsigned_message_is_discarded() {
    let mut sim = Sim::established(204);
    let mut alice = sim.alice.contact();
    alice.modes.mine = true;
    alice.modes.theirs = true;
    let out = alice.send(&text("unsigned"), &mut sim.random).unwrap();
    give(&mut sim, Who::Bob, out.item);
    assert!(sim.bob.inbox.is_empty());
    // Nor one that someone else signed.
    let mut alice = sim.alice.contact();
    alice.me.lane = signing_key(&mut sim.random);
    let parties = sim.alice.contact().parties().unwrap();
    let mut body = Body {
        seq: alice.sent.next,
        epoch: 0,
        seen: 0,
        digest: alice.got.seen().short(),
        content: text("x"),
        sig: None,
    };
    body.sign(&parties, &alice.me.lane).unwrap();
    let ratchet = &mut alice.session.as_mut().unwrap().ratchet;
    let plain = body.to_padded(ratchet.overhead(true)).unwrap();
    let item = ratchet.encrypt(&mut sim.random, true, &parties.associated_data(), &plain).unwrap();
    give(&mut sim, Who::Bob, item);
    assert!(sim.bob.inbox.is_empty());
}

#[test]
fn a11_man_in_the_middle_shows_in_the_safety_code() {
    let mut random = SeededRandom::new(205);
    let (bob, alice) = (fresh(&mut random), fresh(&mut random));
    let (as_bob, as_alice) = (fresh(&mut random), fresh(&mut random));
    let (card, kem) = (as_bob.card.clone(), as_bob.kem.clone());
    let (left, out) =
        Contact::take(alice.secrets, alice.lanes, &card, &kem, Text::default(), &mut random).unwrap();
    let mut middle = Contact::issue(as_bob.secrets, as_bob.card);
    middle.receive(&out.item, 0, &mut random).unwrap();
    let (_, out) =
        Contact::take(as_alice.secrets, as_alice.lanes, &bob.card, &bob.kem, Text::default(), &mut random)
            .unwrap();
    let mut right = Contact::issue(bob.secrets, bob.card);
    right.receive(&out.item, 0, &mut random).unwrap();
    assert!(left.safety_code().is_some() && right.safety_code().is_some());
    assert_ne!(left.safety_code(), right.safety_code());
    assert!(!left.verified() && !right.verified());
}

#[test]
fn a_confirm_that_was_not_asked_for_changes_nothing() {
    let mut sim = Sim::established(206);
    let status = |sim: &Sim| (sim.bob.contact().status(), sim.bob.contact().deposit_target().cloned());
    let before = status(&sim);
    let mut alice = sim.alice.contact();
    let old = alice.begin_renewal(&mut sim.random).unwrap();
    assert_eq!(old.seq, 0);
    let mut other = Sim::established(207);
    let confirm = {
        other.act(Who::Alice, |_, c, _, r| (vec![c.begin_renewal(r).unwrap()], ())).unwrap();
        other.pull(Who::Bob);
        other.alice.mailbox.pop().unwrap()
    };
    give(&mut sim, Who::Bob, confirm);
    assert_eq!(status(&sim), before);
}

#[test]
fn one_message_that_never_comes_does_not_make_the_state_grow() {
    let mut sim = Sim::established(208);
    let (mut bob, mut alice) = (sim.bob.contact(), sim.alice.contact());
    bob.send(&text("lost for ever"), &mut sim.random).unwrap();
    for n in 0..3000 {
        let out = bob.send(&text(&format!("{n}")), &mut sim.random).unwrap();
        assert!(matches!(alice.receive(&out.item, 0, &mut sim.random).unwrap(), Received::Opened(_)));
    }
    for contact in [&alice, &bob] {
        let size = postcard::to_stdvec(contact).unwrap().len();
        assert!(size < 100_000, "{size} bytes");
    }
}

#[test]
fn a15_items_of_one_kind_or_conversation_are_nothing_to_another() {
    let mut sim = Sim::established(209);
    for who in BOTH {
        sim.send(who, text("here")).unwrap();
        sim.settle();
    }
    sim.act(Who::Alice, |_, c, _, r| (vec![c.begin_renewal(r).unwrap()], ())).unwrap();
    sim.settle();
    let mut elsewhere = Sim::established(210);
    let before: Vec<_> = BOTH.iter().map(|who| elsewhere.side(*who).disk.clone()).collect();
    for (_, item) in &sim.capture {
        for suite in 0..=5 {
            let mut item = item.clone();
            item[0] = suite;
            for who in BOTH {
                let mut contact = elsewhere.side(who).contact();
                let got = contact.receive(&item, 0, &mut elsewhere.random).unwrap();
                assert_eq!(got, Received::Unreadable);
            }
        }
    }
    // In its own conversation, an item under another suite is as strange.
    for (_, item) in sim.capture.clone() {
        let mut item = item;
        item[0] ^= 1;
        for who in BOTH {
            let mut contact = sim.side(who).contact();
            assert_eq!(contact.receive(&item, 0, &mut sim.random).unwrap(), Received::Unreadable);
        }
    }
    let after: Vec<_> = BOTH.iter().map(|who| elsewhere.side(*who).disk.clone()).collect();
    assert!(before == after);
}
