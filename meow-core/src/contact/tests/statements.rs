//! Statements that the other side has not seen: more of them than are kept.

use super::*;
use crate::crypto::Secret;
use crate::direct::DirectOffer;
use crate::lane::Lookup;
use crate::message::Receipt;
use crate::policy::Receipts;
use crate::wire::List;

const RECEIPTS: Receipts = Receipts { decrypted: true, read: false };
/// Longer ones than these, or more moves, than are kept.
const MANY: usize = 100;
const MANY_MOVES: usize = 300;
/// What is kept, in bytes, without the newest of each kind.
const ROOM: usize = 32 * 1024;

/// Moves to a new mailbox. Gives the statement, and where this side is to be written to from then on.
fn move_mailbox(side: &mut Side) -> (Outgoing, Lookup) {
    let plan = side.contact.plan_anew(server(3), &mut side.random).unwrap();
    let out = side.contact.begin_rotation(plan, &mut side.random).unwrap().unwrap();
    (out, side.contact.own_lookup().unwrap())
}

/// Alice says what she has of Bob's, at length, many times; Bob gets that, and says nothing of what he has got.
fn many_receipts(alice: &mut Side, bob: &mut Side) {
    // Of these he never sent any.
    let receipt = Receipt { also: List::take([1 << 62; 64]), ..Receipt::default() };
    for _ in 0..MANY {
        let out = alice.contact.send(&Content::Receipt(receipt.clone()), &mut alice.random).unwrap();
        bob.receive(&out.item);
    }
    assert!(alice.contact.sent.held().0 < MANY, "some had to go");
}

/// Bob says what he has, and what he lacks comes again.
fn fill(alice: &mut Side, bob: &mut Side) {
    bob.contact.told.owed = true;
    let receipt = bob.contact.take_receipt(RECEIPTS, &mut bob.random).unwrap().unwrap();
    alice.receive(&receipt.item);
    settle(alice, bob);
    bob.send("so far I have it");
    settle(alice, bob);
}

#[test]
fn a05_a_lost_statement_of_where_to_deposit_comes_again_whatever_was_said_since() {
    let (mut alice, mut bob) = established();
    let old = alice.contact.mailboxes()[0].lkp.public();
    let (_lost, new) = move_mailbox(&mut alice);
    let offer = DirectOffer { secret: Some(Secret::new([7; 32])) };
    let direct = alice.contact.send(&Content::Direct(offer), &mut alice.random).unwrap();
    many_receipts(&mut alice, &mut bob);
    assert!(!alice.has(&ContactEvent::CloseMailbox { lkp: old }), "he does not know the new one yet");
    assert_ne!(bob.contact.deposit_target(), Some(&new));

    fill(&mut alice, &mut bob);
    assert_eq!(bob.contact.deposit_target(), Some(&new), "the mailbox that Alice fetches from");
    assert!(bob.events.iter().any(|e| matches!(e, ContactEvent::Direct { seq, .. } if *seq == direct.seq)));
    assert!(alice.has(&ContactEvent::CloseMailbox { lkp: old }));
    assert!(!alice.has(&ContactEvent::Fork) && !bob.has(&ContactEvent::Fork));
}

#[test]
fn what_was_let_go_of_closes_no_mailbox_that_the_contact_writes_to() {
    let (mut alice, mut bob) = established();
    let known = bob.contact.deposit_target().unwrap().places()[0].lkp;
    let (first, _) = move_mailbox(&mut alice);
    let (mut last, mut newest) = move_mailbox(&mut alice);
    for _ in 0..MANY_MOVES {
        (last, newest) = move_mailbox(&mut alice);
    }
    // Bob gets nothing of it but what now stands in the place of the first one.
    let again = alice.contact.resend(first.seq, &Content::Empty, &mut alice.random).unwrap();
    bob.receive(&again.item);
    bob.send("that far I have everything");
    settle(&mut alice, &mut bob);
    assert!(alice.contact.seen_by_contact() >= first.seq);
    assert_eq!(bob.contact.deposit_target().unwrap().places()[0].lkp, known);
    assert!(!alice.has(&ContactEvent::CloseMailbox { lkp: known }), "he writes to it still");
    let (kept, bytes) = alice.contact.sent.held();
    assert!(kept < MANY_MOVES && bytes <= ROOM, "{kept}, {bytes}");

    // All the others: he writes to the newest one, and the first one goes.
    for seq in first.seq + 1..=last.seq {
        let again = alice.contact.resend(seq, &Content::Empty, &mut alice.random).unwrap();
        bob.receive(&again.item);
    }
    bob.send("all of it");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.contact.deposit_target(), Some(&newest));
    assert!(alice.has(&ContactEvent::CloseMailbox { lkp: known }));
}

#[test]
fn what_a_receipt_says_has_come_takes_no_room() {
    let (mut alice, mut bob) = established();
    let (lost, _) = move_mailbox(&mut alice);
    for i in 0..20 {
        bob.send(&i.to_string());
        settle(&mut alice, &mut bob);
        let receipt = alice.contact.take_receipt(RECEIPTS, &mut alice.random).unwrap().unwrap();
        bob.receive(&receipt.item);
    }
    bob.contact.told.owed = true;
    let receipt = bob.contact.take_receipt(RECEIPTS, &mut bob.random).unwrap().unwrap();
    let before = alice.contact.sent.held().0;
    alice.receive(&receipt.item);
    assert!(before > 20);
    assert_eq!(alice.contact.sent.held().0, 1);
    assert!(alice.contact.sent.kept(lost.seq).is_some(), "the one that is lacking");
}

/// Bob's server loses all that comes for a while in which he is heard.
#[test]
fn what_was_lost_of_many_statements_comes_again_as_it_was_and_makes_no_fork() {
    let (mut alice, mut bob) = established();
    let mut lost = 0;
    for i in 0..MANY {
        bob.send(&i.to_string());
        settle(&mut alice, &mut bob);
        lost = alice.contact.take_receipt(RECEIPTS, &mut alice.random).unwrap().unwrap().seq;
    }
    let after = alice.send("it is back");
    assert_eq!((alice.contact.sent.held().0, after), (MANY, lost + 1));
    settle(&mut alice, &mut bob);
    assert!(bob.contact.got.seen().upto < lost);
    // So many that two of his receipts bring them back.
    fill(&mut alice, &mut bob);
    fill(&mut alice, &mut bob);
    assert_eq!(alice.contact.seen_by_contact(), after);
    assert!(!alice.has(&ContactEvent::Fork) && !bob.has(&ContactEvent::Fork));
    assert_eq!(alice.contact.sent.held().0, 0);
}
