use super::*;
use crate::policy::{Padding, Receipts};

const ALL: Receipts = Receipts { decrypted: true, read: true };

/// What a moment at which nothing waits brings.
fn cover(side: &mut Side) -> usize {
    let out = side.contact.cover(ALL, true, 1_000, &mut side.random).unwrap().unwrap();
    let len = out.item.len();
    side.out.push(out.item);
    len
}

#[test]
fn cover_looks_like_messages_and_turns_keys_and_nobody_is_told() {
    let (mut alice, mut bob) = established();
    bob.events.clear();
    for padding in [Padding::P512, Padding::P2048] {
        alice.contact.set_padding(padding);
        for n in 0..4 {
            let lens = [cover(&mut alice), {
                alice.send("a few words");
                alice.out.last().unwrap().len()
            }];
            assert_eq!(lens, [padding.item(); 2], "round {n}");
            settle(&mut alice, &mut bob);
            bob.send("so");
            settle(&mut alice, &mut bob);
        }
    }
    // Once Bob has said something, a receipt goes in the place of what says nothing.
    let told = |e: &ContactEvent| matches!(e, ContactEvent::Message { .. } | ContactEvent::Decrypted { .. });
    assert!(bob.events.iter().all(told), "{:?}", bob.events);
    assert_eq!((bob.texts().len(), bob.unreadable, bob.duplicates), (8, 0, 0));
    assert!(!alice.has(&ContactEvent::Fork));
}

#[test]
fn a27_cover_is_owed_no_receipt_and_makes_no_ping_pong() {
    let (mut alice, mut bob) = established();
    for n in 1..=100 {
        cover(&mut alice);
        settle(&mut alice, &mut bob);
        assert!(bob.contact.take_receipt(ALL, &mut bob.random).unwrap().is_none());
        // Who never says anything turns keys once in twenty, and who hears that says nothing to it.
        let turn = bob.contact.tick(1_000, &mut bob.random).unwrap();
        assert_eq!(turn.is_some(), n % 20 == 0, "{n}");
        if let Some(turn) = turn {
            alice.receive(&turn.item);
            assert!(alice.contact.tick(1_000, &mut alice.random).unwrap().is_none());
            assert!(alice.contact.take_receipt(ALL, &mut alice.random).unwrap().is_none());
            assert_eq!(alice.contact.seen_by_contact(), alice.contact.sent.last());
        }
    }
    assert!(bob.texts().is_empty());
}

#[test]
fn what_is_owed_goes_at_a_moment_before_anything_that_says_nothing() {
    let (mut alice, mut bob) = established();
    bob.send("one");
    settle(&mut alice, &mut bob);
    bob.events.clear();
    cover(&mut alice);
    settle(&mut alice, &mut bob);
    assert!(bob.events.iter().any(|e| matches!(e, ContactEvent::Decrypted { .. })), "a receipt");
    // Without filling there is nothing, until keys are to turn.
    assert!(alice.contact.cover(ALL, false, 1_000, &mut alice.random).unwrap().is_none());
    let day = 1_000 + 24 * 3_600_000;
    assert!(alice.contact.cover(ALL, false, day, &mut alice.random).unwrap().is_some());
    assert!(alice.contact.cover(ALL, false, day, &mut alice.random).unwrap().is_none());
    let (mut alice, _) = card_taken();
    assert!(alice.contact.cover(ALL, true, 1_000, &mut alice.random).unwrap().is_none(), "no keys yet");
}

#[test]
fn cover_that_was_lost_is_filled_and_no_fork_shows() {
    let (mut alice, mut bob) = established();
    alice.send("one");
    settle(&mut alice, &mut bob);
    // More than what is kept of the protocol's own statements.
    for _ in 0..100 {
        cover(&mut alice);
    }
    alice.out.clear();
    alice.send("two");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["one", "two"]);
    for _ in 0..3 {
        bob.contact.mark_read(u64::MAX);
        if let Some(receipt) = bob.contact.take_receipt(ALL, &mut bob.random).unwrap() {
            alice.receive(&receipt.item);
        }
        settle(&mut alice, &mut bob);
        bob.send("go on");
        settle(&mut alice, &mut bob);
    }
    assert!(bob.events.iter().any(|e| matches!(e, ContactEvent::Found { .. })), "{:?}", bob.events);
    assert!(!alice.has(&ContactEvent::Fork) && !bob.has(&ContactEvent::Fork));
}

#[test]
fn statements_are_kept_however_much_cover_follows_them() {
    let (mut alice, mut bob) = established();
    let mode = alice.contact.set_deniable(true, &mut alice.random).unwrap().unwrap();
    for _ in 0..200 {
        cover(&mut alice);
    }
    alice.out.clear();
    let again = alice.contact.resend(mode.seq, &Content::Empty, &mut alice.random).unwrap();
    bob.receive(&again.item);
    assert!(bob.contact.modes.theirs, "it was the statement, not Empty");
}
