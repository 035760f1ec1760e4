//! From the card to the first messages.

use super::super::*;
use super::sim::*;
use crate::card::CARD_GRACE;
use crate::crypto::SeededRandom;
use crate::message::Content;
use crate::wire::Text;

#[test]
fn card_answer_confirm_text() {
    let mut sim = Sim::new(1);
    assert_eq!(sim.bob.contact().status(), Status::CardOut);
    assert_eq!(sim.alice.contact().status(), Status::Confirming);
    assert_eq!(sim.bob.contact().card_expires(), Some(EXPIRES));
    assert!(sim.bob.contact().safety_code().is_none());
    assert!(sim.bob.contact().deposit_target().is_none());

    // Nothing but the greeting travels before both confirmed.
    assert_eq!(sim.send(Who::Alice, text("early")), None);
    assert_eq!(sim.send(Who::Bob, text("early")), None);
    sim.pull(Who::Bob);
    assert_eq!(sim.bob.contact().status(), Status::Confirming);
    assert_eq!(sim.bob.events, [ContactEvent::Greeting(Text::new("hello").unwrap())]);
    assert_eq!(sim.send(Who::Bob, text("early")), None);
    assert!(!postcard::to_stdvec(&sim.bob.contact()).unwrap().is_empty());

    sim.pull(Who::Alice);
    assert_eq!(sim.alice.contact().status(), Status::Established);
    assert_eq!(sim.send(Who::Alice, text("first")), Some(2), "1 is the Confirm");
    sim.pull(Who::Bob);
    assert_eq!(sim.bob.contact().status(), Status::Established);
    sim.settle();
    assert_eq!(sim.bob.texts(), ["first"]);
    assert_eq!(sim.bob.contact().safety_code(), sim.alice.contact().safety_code());
    assert!(sim.alice.decrypted.contains(&2));

    assert!(!sim.bob.contact().verified());
    let mut bob = sim.bob.contact();
    bob.set_verified();
    assert!(bob.verified());
    assert_eq!(format!("{bob:?}"), "Contact { status: Established, .. }");
}

#[test]
fn the_secrets_of_a_card_go_with_the_answer() {
    let mut random = SeededRandom::new(2);
    let (bob, alice) = (fresh(&mut random), fresh(&mut random));
    let find = |contact: &Contact, what: &[u8]| {
        postcard::to_stdvec(contact).unwrap().windows(what.len()).any(|w| w == what)
    };
    let secrets = [
        bob.secrets.ckp.seed().to_vec(),
        bob.secrets.prekey.expose().to_vec(),
        bob.card.secret().expose().to_vec(),
    ];
    let mut issued = Contact::issue(bob.secrets, bob.card.clone());
    assert!(secrets.iter().all(|s| find(&issued, s)));
    let ckp = alice.secrets.ckp.seed().to_vec();
    let (mut taken, out) =
        Contact::take(alice.secrets, alice.lanes, &bob.card, &bob.kem, Text::default(), &mut random).unwrap();
    assert!(find(&taken, &ckp));
    let Received::Opened(output) = issued.receive(&out.item, 0, &mut random).unwrap() else {
        panic!("not opened")
    };
    assert!(!secrets.iter().any(|s| find(&issued, s)));
    taken.receive(&output.items[0].item, 0, &mut random).unwrap();
    assert_eq!(taken.status(), Status::Established);
    assert!(!find(&taken, &ckp));
}

#[test]
fn a10_a_card_makes_one_contact() {
    let mut random = SeededRandom::new(3);
    let bob = fresh(&mut random);
    let mut issued = Contact::issue(bob.secrets, bob.card.clone());
    let mut answers = Vec::new();
    for _ in 0..10 {
        let taker = fresh(&mut random);
        let made =
            Contact::take(taker.secrets, taker.lanes, &bob.card, &bob.kem, Text::default(), &mut random);
        answers.push(made.unwrap());
    }
    let first = issued.receive(&answers[0].1.item, 0, &mut random).unwrap();
    assert!(matches!(first, Received::Opened(_)));
    let code = issued.safety_code();
    let repeated = issued.receive(&answers[0].1.item, 0, &mut random).unwrap();
    assert_eq!(repeated, Received::Duplicate);
    for (_, out) in &answers[1..] {
        assert_eq!(issued.receive(&out.item, 0, &mut random).unwrap(), Received::Unreadable);
    }
    assert_eq!(issued.safety_code(), code);
    assert_eq!(issued.safety_code(), answers[0].0.safety_code());
}

#[test]
fn a_card_expires_with_grace() {
    let mut random = SeededRandom::new(4);
    let (bob, alice) = (fresh(&mut random), fresh(&mut random));
    let mut issued = Contact::issue(bob.secrets, bob.card.clone());
    let (_, out) =
        Contact::take(alice.secrets, alice.lanes, &bob.card, &bob.kem, Text::default(), &mut random).unwrap();
    let late = (EXPIRES + CARD_GRACE + 1) * 1000;
    assert_eq!(issued.receive(&out.item, late, &mut random).unwrap(), Received::Unreadable);
    let grace = (EXPIRES + CARD_GRACE) * 1000;
    assert!(matches!(issued.receive(&out.item, grace, &mut random).unwrap(), Received::Opened(_)));
}

#[test]
fn contents_that_overtake_the_confirm_wait_for_it() {
    let mut sim = Sim::new(5);
    sim.pull(Who::Bob);
    sim.pull(Who::Alice);
    sim.send(Who::Alice, text("fast")).unwrap();
    assert_eq!(sim.bob.mailbox.len(), 2, "Confirm and text");
    sim.bob.mailbox.reverse();
    sim.pull(Who::Bob);
    assert_eq!((sim.bob.contact().status(), sim.bob.inbox.len()), (Status::Confirming, 0));
    sim.settle();
    assert_eq!(sim.bob.texts(), ["fast"]);
    assert!(!sim.bob.events.contains(&ContactEvent::Missing { from: 1, to: 1 }));
}

#[test]
fn a_listener_turns_keys_after_20_messages_or_a_day() {
    let mut sim = Sim::established(6);
    let items = |sim: &Sim| sim.capture.iter().filter(|(to, _)| *to == Who::Alice).count();
    let quiet = |sim: &mut Sim| {
        sim.act(Who::Bob, |_, c, now, r| (Vec::from_iter(c.tick(now, r).unwrap()), ())).unwrap();
    };
    let before = items(&sim);
    quiet(&mut sim);
    assert_eq!(items(&sim), before, "nothing heard, nothing said");
    sim.send(Who::Alice, text("one")).unwrap();
    sim.settle();
    let before = items(&sim);
    sim.now_ms += 24 * 60 * 60 * 1000 - 1;
    quiet(&mut sim);
    assert_eq!(items(&sim), before);
    sim.now_ms += 1;
    quiet(&mut sim);
    assert_eq!(items(&sim), before + 1, "after a day");
    sim.settle();
    let before = items(&sim);
    for i in 0..20 {
        sim.send(Who::Alice, text(&format!("{i}"))).unwrap();
    }
    sim.settle();
    assert_eq!(items(&sim), before + 20 + 1, "20 receipts, one turn");
}

#[test]
fn deniable_when_both_wish_it() {
    let mut sim = Sim::established(7);
    let wish = |sim: &mut Sim, who, on| {
        sim.act(who, |_, c, _, r| (Vec::from_iter(c.set_deniable(on, r).unwrap()), ())).unwrap();
        sim.settle();
    };
    let size = |sim: &mut Sim| {
        sim.send(Who::Alice, text("a")).unwrap();
        let len = sim.capture.last().unwrap().1.len();
        sim.settle();
        sim.send(Who::Bob, text("b")).unwrap();
        sim.settle();
        len
    };
    size(&mut sim);
    assert_eq!(size(&mut sim), 352, "signed");
    wish(&mut sim, Who::Alice, true);
    assert!(!sim.alice.contact().deniable());
    size(&mut sim);
    assert_eq!(size(&mut sim), 352, "one wish is not enough");
    wish(&mut sim, Who::Bob, true);
    assert!(sim.alice.contact().deniable() && sim.bob.contact().deniable());
    size(&mut sim);
    let receipt = sim.alice.inbox.len();
    sim.send(Who::Alice, text("c")).unwrap();
    sim.settle();
    sim.send(Who::Alice, text("d")).unwrap();
    assert_eq!(sim.capture.last().unwrap().1.len(), 96, "no signature, no Ekp");
    // Bob wants signatures again; what Alice sends before she knows still arrives.
    sim.act(Who::Bob, |_, c, _, r| (Vec::from_iter(c.set_deniable(false, r).unwrap()), ())).unwrap();
    sim.send(Who::Alice, text("under way")).unwrap();
    sim.settle();
    assert_eq!(sim.bob.texts().last(), Some(&"under way"));
    assert!(!sim.alice.contact().deniable());
    size(&mut sim);
    assert_eq!(size(&mut sim), 352);
    assert!(sim.alice.inbox.len() > receipt);
}

#[test]
fn unknown_contents_are_kept() {
    let mut sim = Sim::established(8);
    let unknown = Content::Unknown { kind: 4000, body: crate::wire::Blob::new(vec![1, 2, 3]).unwrap() };
    let seq = sim.send(Who::Bob, unknown.clone()).unwrap();
    sim.settle();
    assert_eq!(sim.alice.inbox, [(seq, unknown)]);
}

#[test]
fn lookup_rotation_moves_deposits_and_closes_the_old_mailbox() {
    let mut sim = Sim::established(9);
    let old = sim.bob.contact().mailboxes()[0].lkp.public();
    let (lkp, lookup) = sim.act(Who::Bob, |_, c, _, r| move_to(c, &[2], r)).unwrap();
    assert_eq!(sim.bob.contact().mailboxes().len(), 2, "both are polled");
    assert_eq!(sim.alice.contact().deposit_target().unwrap().places()[0].lkp, old);
    sim.settle();
    let target = sim.alice.contact().deposit_target().unwrap().clone();
    assert_eq!(target, lookup);
    assert!(sim.bob.events.contains(&ContactEvent::CloseMailbox { lkp: old }), "Alice acknowledged at once");
    let mut bob = sim.bob.contact();
    bob.mailbox_closed(&old);
    assert_eq!(bob.mailboxes().len(), 1);
    bob.mailbox_closed(&lkp);
    assert_eq!(bob.mailboxes().len(), 1, "the last one stays");
}
