use super::*;
use crate::policy::{Padding, Receipts};
use crate::request::ITEM_SIZES;

const ALL: Receipts = Receipts { decrypted: true, read: true };

#[test]
fn a_card_makes_two_contacts_with_one_safety_code() {
    let (mut alice, mut bob) = card_taken();
    assert_eq!((alice.contact.status(), bob.contact.status()), (Status::CardOut, Status::Confirming));
    assert!(matches!(bob.contact.send(&Content::Empty, &mut bob.random), Err(SendError::NotYet)));
    settle(&mut alice, &mut bob);
    assert_eq!(
        alice.events,
        [ContactEvent::Greeting(Text::new("hello").unwrap()), ContactEvent::Established]
    );
    assert_eq!(bob.events, [ContactEvent::Established]);
    assert_eq!(alice.contact.safety_code().unwrap(), bob.contact.safety_code().unwrap());
    assert!(!alice.contact.verified());
}

#[test]
fn messages_and_receipts_flow() {
    let (mut alice, mut bob) = established();
    let first = alice.send("one");
    alice.send("two");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["one", "two"]);
    bob.contact.mark_read(first + 1);
    let receipt = bob.contact.take_receipt(ALL, &mut bob.random).unwrap().unwrap();
    assert!(bob.contact.take_receipt(ALL, &mut bob.random).unwrap().is_none(), "one per batch");
    alice.receive(&receipt.item);
    assert!(
        alice
            .events
            .iter()
            .any(|e| matches!(e, ContactEvent::Decrypted { from, to } if *from <= first && *to == first + 1))
    );
    assert!(alice.has(&ContactEvent::ReadUpTo { seq: first + 1 }));
    assert!(alice.contact.take_receipt(ALL, &mut alice.random).unwrap().is_none(), "none for receipts");
}

#[test]
fn a01_a_replayed_capture_is_accepted_by_nobody() {
    let (mut alice, mut bob) = card_taken();
    let mut capture = bob.out.clone();
    for text in ["one", "two", "three"] {
        while !alice.out.is_empty() || !bob.out.is_empty() {
            for item in std::mem::take(&mut alice.out) {
                capture.push(item.clone());
                bob.receive(&item);
            }
            for item in std::mem::take(&mut bob.out) {
                capture.push(item.clone());
                alice.receive(&item);
            }
        }
        alice.send(text);
        bob.send(text);
    }
    settle(&mut alice, &mut bob);
    let (a, b) = (alice.events.len(), bob.events.len());
    for item in &capture {
        for side in [&mut alice, &mut bob] {
            if let Received::Opened(output) = side.receive(item) {
                assert_eq!(output, Output::default());
            }
        }
    }
    assert_eq!((alice.events.len(), bob.events.len()), (a, b));
}

#[test]
fn a05_order_and_gaps_are_shown_as_they_are() {
    let (mut alice, mut bob) = established();
    for text in ["one", "two", "three", "four"] {
        alice.send(text);
    }
    let items = std::mem::take(&mut alice.out);
    bob.receive(&items[3]);
    bob.receive(&items[0]);
    bob.receive(&items[2]);
    let first = alice.log[0].0;
    assert!(bob.has(&ContactEvent::Missing { from: first, to: first + 2 }));
    assert!(bob.has(&ContactEvent::Found { seq: first }));
    assert_eq!(bob.texts(), ["four", "one", "three"]);
    bob.receive(&items[1]);
    bob.send("all there");
    settle(&mut alice, &mut bob);
    assert!(!alice.has(&ContactEvent::Fork));
}

#[test]
fn an_expired_card_is_not_answered() {
    let (mut alice, mut bob) = card_taken();
    let opening = bob.out.remove(0);
    let late = (10_000 + crate::card::CARD_GRACE + 1) * 1000;
    assert_eq!(alice.contact.receive(&opening, late, &mut alice.random).unwrap(), Received::Unreadable);
    assert_eq!(alice.contact.status(), Status::CardOut);
}

#[test]
fn an_unsigned_message_is_discarded_unless_both_agreed() {
    let (mut alice, mut bob) = established();
    alice.out.push(alice.contact.set_deniable(true, &mut alice.random).unwrap().unwrap().item);
    settle(&mut alice, &mut bob);
    assert!(!alice.contact.deniable());
    alice.send("still signed");
    settle(&mut alice, &mut bob);
    bob.out.push(bob.contact.set_deniable(true, &mut bob.random).unwrap().unwrap().item);
    settle(&mut alice, &mut bob);
    assert!(alice.contact.deniable() && bob.contact.deniable());
    alice.send("deniable");
    bob.send("deniable too");
    settle(&mut alice, &mut bob);
    // Bob wants signatures again; what Alice sent meanwhile is still read.
    bob.out.push(bob.contact.set_deniable(false, &mut bob.random).unwrap().unwrap().item);
    alice.send("crossing");
    settle(&mut alice, &mut bob);
    alice.send("signed again");
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["still signed", "deniable", "crossing", "signed again"]);
    assert_eq!((alice.unreadable, bob.unreadable), (0, 0));
}

#[test]
fn a_mailbox_moves_and_the_old_one_closes_when_the_contact_knows() {
    let (mut alice, mut bob) = established();
    let old = alice.contact.mailboxes()[0].lkp.public();
    let plan = alice.contact.plan_anew(server(3), &mut alice.random).unwrap();
    let new = plan.mailboxes()[0].lkp.public();
    let out = alice.contact.begin_rotation(plan.clone(), &mut alice.random).unwrap().unwrap();
    assert_eq!(
        alice.contact.begin_rotation(plan, &mut alice.random),
        Ok(None),
        "it was made for what is no more"
    );
    assert_eq!(alice.contact.mailboxes().len(), 2);
    bob.receive(&out.item);
    assert_eq!(bob.contact.deposit_target().unwrap().places()[0].lkp, new);
    assert!(!alice.has(&ContactEvent::CloseMailbox { lkp: old }));
    bob.send("seen");
    settle(&mut alice, &mut bob);
    assert!(alice.has(&ContactEvent::CloseMailbox { lkp: old }));
    alice.contact.mailbox_closed(&old);
    assert_eq!(alice.contact.mailboxes().len(), 1);
}

#[test]
fn a06_a_lost_statement_that_a_renewal_sends_again_does_not_lead_back_to_a_mailbox_that_is_gone() {
    let (mut alice, mut bob) = established();
    // Bob never gets this one; then its mailbox is lost, and a renewal names another.
    let plan = alice.contact.plan_anew(server(3), &mut alice.random).unwrap();
    let lost = plan.mailboxes()[0].lkp.public();
    alice.contact.begin_rotation(plan, &mut alice.random).unwrap().unwrap();
    let plan = alice.contact.plan_without(&lost, server(4), &mut alice.random).unwrap();
    let new = plan.mailboxes()[0].lkp.public();
    assert!(alice.contact.move_mailboxes(plan));
    let opening = alice.contact.begin_renewal(&mut alice.random).unwrap();
    alice.out.push(opening.item);
    settle(&mut alice, &mut bob);
    bob.send("found");
    settle(&mut alice, &mut bob);
    assert!(alice.events.iter().any(|e| matches!(e, ContactEvent::Resend { .. })), "it is sent again");
    assert_eq!(bob.contact.deposit_target().unwrap().places()[0].lkp, new);
    assert!(alice.has(&ContactEvent::CloseMailbox { lkp: lost }) && !alice.has(&ContactEvent::Fork));
    assert!(!bob.has(&ContactEvent::Fork));
}

#[test]
fn a06_of_two_renewals_at_once_both_say_where_their_mailboxes_are() {
    for alice_moves in [true, false] {
        let (mut alice, mut bob) = established();
        let (mover, other) = if alice_moves { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let gone = mover.contact.current_mailboxes().next().unwrap().lkp.public();
        let plan = mover.contact.plan_without(&gone, server(4), &mut mover.random).unwrap();
        let new = plan.mailboxes()[0].lkp.public();
        assert!(mover.contact.move_mailboxes(plan));
        let from_mover = mover.contact.begin_renewal(&mut mover.random).unwrap().item;
        let from_other = other.contact.begin_renewal(&mut other.random).unwrap().item;
        // The opening of the other one waits until there is a mailbox to put it into: whoever wins, this one comes first.
        other.receive(&from_mover);
        assert_eq!(other.contact.deposit_target().unwrap().places()[0].lkp, new);
        other.out.insert(0, from_other);
        settle(&mut alice, &mut bob);
        assert_eq!(
            (alice.contact.status(), bob.contact.status()),
            (Status::Established, Status::Established)
        );
        alice.send("one");
        bob.send("two");
        settle(&mut alice, &mut bob);
        assert_eq!((bob.texts(), alice.texts()), (vec!["one".to_owned()], vec!["two".to_owned()]));
    }
}

#[test]
fn a_server_that_takes_no_new_mailbox_keeps_the_one_that_it_has_unless_that_is_gone() {
    let (mut alice, mut bob) = established();
    let at = |n| ServerRef::new([n; 32], &["http://127.0.0.1:9".parse().unwrap()]).unwrap();
    let out = alice.contact.begin_rotation(alice.contact.plan_on([at(1), at(3)]), &mut alice.random);
    bob.receive(&out.unwrap().unwrap().item);
    let lkps = |c: &Contact| c.current_mailboxes().map(|m| m.lkp.public()).collect::<Vec<_>>();
    let before = lkps(&alice.contact);
    for (failed, stays) in [(vec![1, 3], vec![before[0]]), (vec![3], vec![])] {
        let mut contact = alice.contact.clone();
        let servers = [at(1), at(3), at(4)];
        let mut plan = contact.plan_without(&before[1], servers, &mut alice.random).unwrap();
        failed.iter().chain([&4]).for_each(|n| plan.fall_back(&[*n; 32]));
        assert!(contact.move_mailboxes(plan));
        let now = lkps(&contact);
        assert_eq!(now.len(), 1, "what is gone, and what never was there, is left out");
        assert_eq!(now.iter().copied().filter(|lkp| before.contains(lkp)).collect::<Vec<_>>(), stays);
        // What stays is wrapped as it was.
        let (lookup, mailbox) = (contact.own_lookup().unwrap(), contact.current_mailboxes().next().unwrap());
        let item = lookup.wrap(&lookup.places()[0], &[7; 352]).unwrap();
        let server = mailbox.server.fingerprint();
        let opened = crate::lane::unwrap_item(mailbox.wrap(), server, &mailbox.lkp.public(), &item).unwrap();
        assert_eq!(opened, [7; 352]);
    }
}

#[test]
fn a_planned_mailbox_is_made_anew_and_the_others_stay_as_they_are() {
    let (mut alice, mut bob) = established();
    let at = |n| ServerRef::new([n; 32], &["http://127.0.0.1:9".parse().unwrap()]).unwrap();
    let lkps = |plan: &MailboxPlan| plan.mailboxes().iter().map(|m| m.lkp.public()).collect::<Vec<_>>();
    let mut plan = alice.contact.plan_on([at(1), at(3), at(4)]);
    let before = lkps(&plan);
    plan.make_anew(&[9; 32], &mut alice.random).unwrap();
    assert_eq!(lkps(&plan), before, "there is none at that server");
    plan.make_anew(&[3; 32], &mut alice.random).unwrap();
    let after = lkps(&plan);
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert!(!before.contains(&after[1]));
    let out = alice.contact.begin_rotation(plan, &mut alice.random).unwrap().unwrap();
    bob.receive(&out.item);
    // All are wrapped for alike, and what comes next is of the fresh secret.
    let (target, mailboxes) = (bob.contact.deposit_target().unwrap(), alice.contact.mailboxes());
    for (place, mailbox) in target.places().iter().zip(mailboxes) {
        let item = target.wrap(place, &[7; 352]).unwrap();
        let opened = crate::lane::unwrap_item(mailbox.wrap(), place.server.fingerprint(), &place.lkp, &item);
        assert_eq!((opened.unwrap(), place.lkp), (vec![7; 352], mailbox.lkp.public()));
    }
    let next = lkps(&alice.contact.plan_on([at(5), at(3)]));
    assert_eq!(next[1], after[1]);
    assert!(!before.contains(&next[0]));
}

#[test]
fn a_lane_that_only_listens_turns_keys() {
    let (mut alice, mut bob) = established();
    for i in 0..19 {
        alice.send(&i.to_string());
    }
    settle(&mut alice, &mut bob);
    assert!(bob.contact.tick(1_000, &mut bob.random).unwrap().is_none());
    alice.send("twentieth");
    settle(&mut alice, &mut bob);
    let turn = bob.contact.tick(1_000, &mut bob.random).unwrap().unwrap();
    alice.receive(&turn.item);
    assert!(alice.contact.tick(u64::MAX, &mut alice.random).unwrap().is_none(), "no answer to an empty turn");
    alice.send("later");
    settle(&mut alice, &mut bob);
    assert!(bob.contact.tick(24 * 60 * 60 * 1000 + 1_000, &mut bob.random).unwrap().is_some());
}

#[test]
fn a_contact_state_shows_nothing_in_debug() {
    let (alice, _) = established();
    assert_eq!(format!("{:?}", alice.contact), "Contact { status: Established, .. }");
}

#[test]
fn a27_what_the_user_does_not_see_earns_no_receipt() {
    let (mut alice, mut bob) = established();
    let mut probes = Vec::new();
    for _ in 0..10 {
        probes.push(bob.contact.send(&Content::Empty, &mut bob.random).unwrap().item);
    }
    probes.push(bob.contact.set_deniable(true, &mut bob.random).unwrap().unwrap().item);
    let again = probes[0].clone();
    probes.push(again);
    for item in &probes {
        alice.receive(item);
    }
    assert!(alice.contact.take_receipt(ALL, &mut alice.random).unwrap().is_none());
    assert!(alice.contact.tick(u64::MAX, &mut alice.random).unwrap().is_none());
    assert!(alice.out.is_empty());
}

#[test]
fn messages_are_padded_to_the_size_that_the_policy_says_or_a_larger_one() {
    let (mut alice, mut bob) = established();
    for (padding, least) in [(Padding::P256, 352), (Padding::P2048, 1888), (Padding::P8192, 8032)] {
        alice.contact.set_padding(padding);
        bob.contact.set_padding(padding);
        alice.send("");
        alice.send(&"long ".repeat(60));
        alice.send(&"very long ".repeat(1000));
        bob.send("back");
        let sizes: Vec<_> = alice.out.iter().map(Vec::len).collect();
        assert_eq!(sizes, [least.min(8032), least.max(1888), 32_608], "{padding}");
        settle(&mut alice, &mut bob);
        // What the protocol says by itself is padded as texts are.
        let receipt = bob.contact.take_receipt(ALL, &mut bob.random).unwrap().unwrap();
        assert!(receipt.item.len() >= padding.item() && ITEM_SIZES.contains(&receipt.item.len()));
        alice.receive(&receipt.item);
    }
    assert_eq!((bob.texts().len(), alice.texts().len()), (9, 3));
    // A padded message is none for a radio.
    alice.contact.set_thin(true);
    alice.send("hi");
    assert_eq!(alice.out.pop().unwrap().len(), 8032);
}
