use super::*;
use crate::contact::state::Phase;

#[test]
fn a37_a_rolled_back_store_makes_new_keys_and_gets_everything_again() {
    let (mut alice, mut bob) = established();
    alice.send("before");
    bob.send("before too");
    settle(&mut alice, &mut bob);
    let snapshot = alice.contact.clone();
    let log = alice.log.clone();
    // What the copy does not know of.
    alice.send("lost timeline");
    bob.send("to the lost timeline");
    settle(&mut alice, &mut bob);
    let mut captured = Vec::new();
    alice.send("also lost");
    captured.append(&mut alice.out);

    alice.contact = snapshot;
    alice.log = log;
    alice.events.clear();
    let opening = alice.contact.begin_renewal(&mut alice.random).unwrap();
    assert_eq!(alice.contact.status(), Status::Renewing);
    assert!(matches!(alice.contact.send(&Content::Empty, &mut alice.random), Err(SendError::NotYet)));
    alice.out.push(opening.item);
    settle(&mut alice, &mut bob);
    assert_eq!((alice.contact.status(), bob.contact.status()), (Status::Established, Status::Established));
    assert!(alice.has(&ContactEvent::Renewed) && bob.has(&ContactEvent::Renewed));
    assert_eq!(alice.texts(), ["to the lost timeline"]);

    alice.send("after");
    bob.send("after too");
    settle(&mut alice, &mut bob);
    assert_eq!(alice.texts(), ["to the lost timeline", "after too"]);
    assert_eq!(bob.texts(), ["before", "lost timeline", "after"]);
    assert_eq!((alice.unreadable, bob.unreadable), (0, 0));
    assert!(!alice.has(&ContactEvent::Fork) && !bob.has(&ContactEvent::Fork));
    // No sequence was used for two contents that Bob saw.
    let seqs: Vec<u64> = bob
        .events
        .iter()
        .filter_map(|e| if let ContactEvent::Message { seq, .. } = e { Some(*seq) } else { None })
        .collect();
    let mut distinct = seqs.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), seqs.len());
}

#[test]
fn a01_a_replayed_renewal_is_accepted_once() {
    let (mut alice, mut bob) = established();
    let opening = alice.contact.begin_renewal(&mut alice.random).unwrap().item;
    assert!(matches!(bob.receive(&opening), Received::Opened(_)));
    assert_eq!(bob.receive(&opening), Received::Duplicate);
    assert_eq!(alice.receive(&opening), Received::Unreadable, "its own maker");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.receive(&opening), Received::Duplicate);
    let before = bob.contact.mailboxes().len();
    assert_eq!(bob.contact.status(), Status::Established);
    assert_eq!(before, 1);
}

#[test]
fn two_renewals_at_once_end_in_one() {
    let (mut alice, mut bob) = established();
    let from_alice = alice.contact.begin_renewal(&mut alice.random).unwrap().item;
    let from_bob = bob.contact.begin_renewal(&mut bob.random).unwrap().item;
    alice.out.push(from_alice);
    bob.out.push(from_bob);
    settle(&mut alice, &mut bob);
    assert_eq!((alice.contact.status(), bob.contact.status()), (Status::Established, Status::Established));
    alice.send("one");
    bob.send("two");
    settle(&mut alice, &mut bob);
    assert_eq!((bob.texts(), alice.texts()), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

#[test]
fn messages_under_way_during_a_renewal_arrive() {
    let (mut alice, mut bob) = established();
    bob.send("under way");
    alice.out.push(alice.contact.begin_renewal(&mut alice.random).unwrap().item);
    let from_bob = std::mem::take(&mut bob.out);
    for item in std::mem::take(&mut alice.out) {
        bob.receive(&item);
    }
    for item in from_bob {
        alice.receive(&item);
    }
    settle(&mut alice, &mut bob);
    bob.send("after");
    settle(&mut alice, &mut bob);
    assert_eq!(alice.texts(), ["under way", "after"]);
    assert!(!bob.has(&ContactEvent::Fork));
}

#[test]
fn numbers_that_a_contact_makes_jump_cost_nothing() {
    let (mut alice, mut bob) = established();
    alice.send("one");
    settle(&mut alice, &mut bob);
    // Bob claims to have seen a number of messages that nobody ever sent.
    bob.contact.got.top = 1 << 60;
    bob.out.push(bob.contact.begin_renewal(&mut bob.random).unwrap().item);
    settle(&mut alice, &mut bob);
    let next = alice.send("after the jump");
    assert!(next > 1 << 60);
    settle(&mut alice, &mut bob);
    let before = alice.events.len();
    let receipts = crate::policy::Receipts { decrypted: true, read: true };
    bob.contact.mark_read(u64::MAX);
    bob.out.push(bob.contact.take_receipt(receipts, &mut bob.random).unwrap().unwrap().item);
    settle(&mut alice, &mut bob);
    assert!(alice.has(&ContactEvent::Decrypted { from: 1, to: next }));
    assert!(alice.events.len() - before < 10);
}

#[test]
fn a_digest_that_starts_behind_all_numbers_is_harmless() {
    let (mut alice, mut bob) = established();
    let opening = bob.contact.begin_renewal(&mut bob.random).unwrap().item;
    alice.receive(&opening);
    alice.out.clear();
    let Phase::Confirming(waiting) = alice.contact.phase.clone() else { panic!("Alice confirms") };
    let lane = alice.contact.me.lane.clone();
    let confirm = alice.contact.send_confirm(&waiting.handshake, &lane, u64::MAX, &mut alice.random).unwrap();
    alice.out.push(confirm.item);
    settle(&mut alice, &mut bob);
    assert_eq!(bob.contact.status(), Status::Established);
    alice.send("goes on");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["goes on"]);
}
