//! Rollbacks and fresh keys.

use std::collections::BTreeMap;

use super::super::*;
use super::sim::*;

fn renew(sim: &mut Sim, who: Who) {
    sim.act(who, |_, c, _, r| (vec![c.begin_renewal(r).unwrap()], ())).unwrap();
    assert_eq!(sim.side(who).contact().status(), Status::Renewing);
}

fn chat(sim: &mut Sim, rounds: usize, tag: &str) {
    for n in 0..rounds {
        for who in BOTH {
            sim.send(who, text(&format!("{tag} {who:?} {n}"))).unwrap();
            sim.settle();
        }
    }
}

/// Takes a side back to an older copy; the server's mailbox is what it is.
fn roll_back(sim: &mut Sim, who: Who, mut copy: Side) {
    copy.mailbox = std::mem::take(&mut sim.side(who).mailbox);
    *sim.side(who) = copy;
}

fn calm(sim: &Sim) {
    for side in [&sim.bob, &sim.alice] {
        assert_eq!(side.contact().status(), Status::Established);
        assert!(!side.events.contains(&ContactEvent::Fork));
    }
}

#[test]
fn a_renewal_makes_fresh_keys_and_messages_go_on() {
    for who in BOTH {
        let mut sim = Sim::established(20);
        chat(&mut sim, 3, "before");
        let code = sim.bob.contact().safety_code();
        renew(&mut sim, who);
        assert_eq!(sim.send(who, text("too early")), None);
        sim.settle();
        for side in [&sim.bob, &sim.alice] {
            assert!(side.events.contains(&ContactEvent::Renewed));
        }
        chat(&mut sim, 3, "after");
        calm(&sim);
        assert_eq!((sim.bob.inbox.len(), sim.alice.inbox.len()), (6, 6));
        assert_eq!(sim.bob.contact().safety_code(), code, "devices never change it");
    }
}

#[test]
fn a37_snapshot_send_restore_send() {
    for who in BOTH {
        let mut sim = Sim::established(21);
        chat(&mut sim, 2, "before");
        let snapshot = sim.side(who).clone();
        // What is sent after the snapshot is lost on this side, and known to the other.
        for n in 0..5 {
            sim.send(who, text(&format!("lost here {n}"))).unwrap();
        }
        sim.send(other(who), text("heard and forgotten")).unwrap();
        sim.settle();
        let captured = sim.capture.len();
        roll_back(&mut sim, who, snapshot);

        // The driver notices by its server's counters, and sends nothing before fresh keys.
        renew(&mut sim, who);
        assert_eq!(sim.send(who, text("blocked")), None);
        sim.settle();
        chat(&mut sim, 3, "after");
        calm(&sim);
        let restored = sim.side(who).clone();
        assert!(restored.texts().contains(&"heard and forgotten"), "sent again");
        let peer = sim.side(other(who)).clone();
        let heard = peer.texts().iter().filter(|t| t.starts_with("lost here")).count();
        assert_eq!(heard, 5);
        let after = peer.texts().iter().filter(|t| t.starts_with("after")).count();
        assert_eq!(after, 3, "numbers went on behind what the other side knows");
        assert!(restored.events.contains(&ContactEvent::Renewed));
        // No item of before was ever made again, nor one with its tag: (key, nonce) pairs never met twice.
        let tags: Vec<&[u8]> = sim.capture.iter().map(|(_, i)| &i[i.len() - 16..]).collect();
        for (i, tag) in tags.iter().enumerate().skip(captured) {
            assert!(!tags[..i].contains(tag));
        }
    }
}

#[test]
fn a37_no_chain_key_seals_two_plaintexts() {
    let mut used: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut sim = Sim::established(22);
    let snapshot = sim.alice.clone();
    let mut sealed = |sim: &mut Sim, label: &str| {
        let Some(key) = sim.alice.contact().session.unwrap().ratchet.sending_key() else { return };
        if sim.send(Who::Alice, text(label)).is_some() {
            // A turn changes the key first: compare what was in place when nothing turned.
            let other = used.insert(key, label.to_owned());
            assert!(other.is_none(), "{label} under the key of {other:?}");
        }
    };
    for n in 0..5 {
        sealed(&mut sim, &format!("one {n}"));
    }
    sim.settle();
    roll_back(&mut sim, Who::Alice, snapshot);
    renew(&mut sim, Who::Alice);
    sealed(&mut sim, "blocked");
    sim.settle();
    for n in 0..5 {
        sealed(&mut sim, &format!("two {n}"));
    }
    sim.settle();
    calm(&sim);
}

#[test]
fn a01_replay_of_a_whole_capture() {
    let mut sim = Sim::established(23);
    chat(&mut sim, 4, "before");
    let snapshot = sim.alice.clone();
    chat(&mut sim, 2, "between");
    roll_back(&mut sim, Who::Alice, snapshot);
    renew(&mut sim, Who::Alice);
    sim.settle();
    chat(&mut sim, 2, "after");
    replay(&mut sim);
    // And once more after another renewal by the other side.
    renew(&mut sim, Who::Bob);
    sim.settle();
    chat(&mut sim, 1, "last");
    replay(&mut sim);
    calm(&sim);
}

/// Every item ever sent, to both sides: nothing is accepted, nothing is answered.
fn replay(sim: &mut Sim) {
    let (bob, alice) = (sim.bob.clone(), sim.alice.clone());
    let capture = sim.capture.clone();
    for (_, item) in &capture {
        for who in BOTH {
            sim.side(who).mailbox.push(item.clone());
        }
    }
    sim.settle();
    assert_eq!(sim.capture.len(), capture.len(), "nothing was sent");
    for (before, after) in [(bob, &sim.bob), (alice, &sim.alice)] {
        assert_eq!(before.inbox, after.inbox);
        assert_eq!(before.events, after.events);
    }
    sim.bob.aside.clear();
    sim.alice.aside.clear();
}

#[test]
fn a01_replay_to_a_restored_client_shows_nothing_twice() {
    let mut sim = Sim::established(24);
    chat(&mut sim, 3, "before");
    let snapshot = sim.alice.clone();
    let known = snapshot.inbox.clone();
    chat(&mut sim, 3, "after");
    roll_back(&mut sim, Who::Alice, snapshot);
    for (to, item) in sim.capture.clone() {
        if to == Who::Alice {
            sim.alice.mailbox.push(item);
        }
    }
    // `absorb` asserts that no sequence comes twice.
    sim.settle();
    assert!(sim.alice.inbox.starts_with(&known));
}

#[test]
fn both_begin_at_once() {
    for seed in 30..36 {
        let mut sim = Sim::established(seed);
        chat(&mut sim, 2, "before");
        renew(&mut sim, Who::Bob);
        renew(&mut sim, Who::Alice);
        sim.settle();
        chat(&mut sim, 2, "after");
        calm(&sim);
        assert_eq!((sim.bob.inbox.len(), sim.alice.inbox.len()), (4, 4));
    }
}

#[test]
fn both_were_rolled_back() {
    for seed in 40..44 {
        let mut sim = Sim::established(seed);
        chat(&mut sim, 2, "before");
        let (bob, alice) = (sim.bob.clone(), sim.alice.clone());
        chat(&mut sim, 3, "forgotten by both");
        roll_back(&mut sim, Who::Bob, bob);
        roll_back(&mut sim, Who::Alice, alice);
        renew(&mut sim, Who::Bob);
        renew(&mut sim, Who::Alice);
        sim.settle();
        chat(&mut sim, 2, "after");
        calm(&sim);
        for side in [&sim.bob, &sim.alice] {
            assert_eq!(side.texts().iter().filter(|t| t.starts_with("after")).count(), 2);
        }
    }
}

#[test]
fn the_same_snapshot_again_and_again() {
    let mut sim = Sim::established(50);
    chat(&mut sim, 1, "before");
    let snapshot = sim.alice.clone();
    for round in 0..6 {
        let mut copy = snapshot.clone();
        // The application's log of what arrived is elsewhere.
        copy.inbox.clear();
        roll_back(&mut sim, Who::Alice, copy);
        renew(&mut sim, Who::Alice);
        sim.settle();
        // More than four in an hour would wait.
        sim.now_ms += 20 * 60 * 1000;
        chat(&mut sim, 1, &format!("round {round}"));
        calm(&sim);
        assert!(sim.bob.texts().contains(&format!("round {round} Alice 0").as_str()), "round {round}");
    }
}

#[test]
fn what_was_under_way_comes_once() {
    let mut sim = Sim::established(51);
    chat(&mut sim, 2, "before");
    let snapshot = sim.alice.clone();
    // Under way from Bob, not yet pulled; and from Alice's lost time, delayed beyond the renewal.
    let bob: Vec<u64> = (0..3).map(|n| sim.send(Who::Bob, text(&format!("bob {n}"))).unwrap()).collect();
    sim.send(Who::Alice, text("ghost")).unwrap();
    let ghost = sim.bob.mailbox.pop().unwrap();
    roll_back(&mut sim, Who::Alice, snapshot);
    renew(&mut sim, Who::Alice);
    sim.settle();
    sim.send(Who::Alice, text("alive")).unwrap();
    // The ghost has the number of a message that is alive; it must not take its place.
    sim.bob.mailbox.insert(0, ghost);
    sim.settle();
    assert!(sim.bob.texts().contains(&"alive"), "{:?}", sim.bob.texts());
    let texts = sim.alice.texts();
    for n in 0..bob.len() {
        assert_eq!(texts.iter().filter(|t| **t == format!("bob {n}")).count(), 1);
    }
    chat(&mut sim, 2, "after");
    calm(&sim);
}

#[test]
fn renewals_in_chaos() {
    for seed in 60..70 {
        let mut sim = Sim::established(seed);
        sim.chaos = Chaos { crash: 30, again: 60, reorder: 60, lose: 0 };
        let mut sent = 0;
        for step in 0..600 {
            match sim.pick(9) {
                0..3 => sim.pull(Who::Bob),
                3..6 => sim.pull(Who::Alice),
                6 => {
                    sent += usize::from(sim.send(Who::Bob, text(&format!("b{step}"))).is_some());
                }
                7 => {
                    sent += usize::from(sim.send(Who::Alice, text(&format!("a{step}"))).is_some());
                }
                _ if sim.pick(20) == 0 => {
                    let who = BOTH[sim.pick(2)];
                    sim.act(who, |_, c, _, r| (vec![c.begin_renewal(r).unwrap()], ()));
                }
                _ => {}
            }
        }
        sim.settle();
        sim.chaos = Chaos::default();
        for who in BOTH {
            // A renewal that crossed another may have been dropped on both sides: the driver begins again.
            if sim.side(who).contact().status() == Status::Renewing {
                sim.act(who, |_, c, _, r| (vec![c.begin_renewal(r).unwrap()], ())).unwrap();
                sim.settle();
            }
        }
        calm(&sim);
        assert_eq!(sim.bob.inbox.len() + sim.alice.inbox.len(), sent, "seed {seed}");
        chat(&mut sim, 1, "end");
        calm(&sim);
    }
}

/// The victim's answer to one more opening, and what it sent again.
fn renewed(sim: &mut Sim, who: Who) -> usize {
    let count = |s: &Side| s.events.iter().filter(|e| matches!(e, ContactEvent::Renewed)).count();
    let before = count(sim.side(who));
    sim.settle();
    count(sim.side(who)) - before
}

#[test]
fn a_contact_that_renews_without_end_is_answered_four_times_an_hour() {
    const HOUR: u64 = 3_600_000;
    for who in BOTH {
        let victim = other(who);
        let mut sim = Sim::established(29);
        chat(&mut sim, 3, "before");
        for _ in 0..4 {
            renew(&mut sim, who);
            assert_eq!(renewed(&mut sim, victim), 1);
        }
        // Further ones wait, and cost nothing but their place: the newest one only.
        let quiet = sim.side(who).mailbox.len();
        for _ in 0..3 {
            renew(&mut sim, who);
            assert_eq!(renewed(&mut sim, victim), 0);
        }
        let held = |s: &Side| s.events.iter().filter(|e| matches!(e, ContactEvent::RenewalHeld)).count();
        assert_eq!((sim.side(who).mailbox.len(), held(sim.side(victim))), (quiet, 1), "no answer, told once");
        assert!(sim.side(victim).aside.is_empty());
        // Replays of those that were overtaken are no news.
        replay(&mut sim);
        assert_eq!(sim.side(victim).contact().status(), Status::Established);

        let resume = |sim: &mut Sim| {
            sim.act(victim, |side, c, now, r| {
                let (due, output) = (c.renewal_due(now), c.resume_renewal(now, r).unwrap());
                let mut out = Vec::new();
                absorb(side, c, output, r, &mut out);
                (out, due)
            })
            .unwrap()
        };
        sim.now_ms += HOUR - 1;
        assert!(!resume(&mut sim), "not yet");
        sim.now_ms += 1;
        assert!(resume(&mut sim), "after an hour");
        assert_eq!(renewed(&mut sim, victim), 1);
        assert!(!resume(&mut sim), "once");
        chat(&mut sim, 2, "after");
        calm(&sim);
        let after = |s: &Side| s.texts().iter().filter(|t| t.starts_with("after")).count();
        assert_eq!((after(&sim.bob), after(&sim.alice)), (2, 2));
    }
}
