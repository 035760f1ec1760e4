//! Random schedules: crashes before every commit, redelivery, reordering, loss.

use super::super::*;
use super::sim::*;

pub(super) fn story(seed: u64, chaos: Chaos, form: Form, messages: usize) -> Sim {
    let mut sim = Sim::new(seed);
    sim.chaos = chaos;
    sim.form = form;
    let mut sent = [0usize; 2];
    let mut steps = 0;
    while sent != [messages; 2] {
        steps += 1;
        assert!(steps < 100_000, "no progress");
        match sim.pick(4) {
            0 => sim.pull(Who::Bob),
            1 => sim.pull(Who::Alice),
            which => {
                let (who, n) = (BOTH[which - 2], sent[which - 2]);
                if n < messages && sim.send(who, text(&format!("{who:?} {n}"))).is_some() {
                    sent[which - 2] += 1;
                }
            }
        }
        sim.now_ms += 1000;
    }
    sim.settle();
    sim
}

/// Each side has every text of the other once; receipts said so.
pub(super) fn complete(sim: &Sim, messages: usize) {
    for (side, from) in [(&sim.bob, Who::Alice), (&sim.alice, Who::Bob)] {
        let mut by_seq = side.inbox.clone();
        by_seq.sort_by_key(|(seq, _)| *seq);
        let texts: Vec<String> = by_seq.iter().map(|(_, c)| c.as_text().unwrap().to_owned()).collect();
        let want: Vec<String> = (0..messages).map(|n| format!("{from:?} {n}")).collect();
        assert_eq!(texts, want);
        assert!(!side.events.contains(&ContactEvent::Fork));
        assert!(side.aside.iter().all(|item| side.done.contains(item)), "only what came again");
        let last = *side.log.keys().max().unwrap();
        assert!(side.log.keys().all(|s| side.decrypted.contains(s)), "up to {last}");
    }
}

#[test]
fn a06_crashes_duplicates_and_reordering_lose_nothing() {
    for seed in 0..12 {
        let chaos = Chaos { crash: 40, again: 60, reorder: 120, lose: 0 };
        let sim = story(seed, chaos, Form::Whole, 25);
        complete(&sim, 25);
    }
}

#[test]
fn a05_in_order_delivery_shows_no_gaps() {
    let sim = story(100, Chaos { crash: 60, again: 90, reorder: 0, lose: 0 }, Form::Whole, 40);
    complete(&sim, 40);
    for side in [&sim.bob, &sim.alice] {
        assert!(!side.events.iter().any(|e| matches!(e, ContactEvent::Missing { .. })));
        assert!(side.inbox.is_sorted_by_key(|(seq, _)| *seq));
    }
}

#[test]
fn a05_gaps_are_shown_and_filled() {
    let mut sim = Sim::established(101);
    let seqs: Vec<u64> = (0..4).map(|n| sim.send(Who::Bob, text(&format!("{n}"))).unwrap()).collect();
    let kept: Vec<_> = sim.alice.mailbox.drain(..).collect();
    sim.alice.mailbox = vec![kept[3].clone()];
    sim.settle();
    let (from, to) = (seqs[0], seqs[2]);
    assert_eq!(sim.alice.events.iter().filter(|e| matches!(e, ContactEvent::Missing { .. })).count(), 1);
    assert!(sim.alice.events.contains(&ContactEvent::Missing { from, to }));
    // Alice's receipt showed the hole, and Bob sent again what was lost; the lost ones come late.
    for seq in &seqs[..3] {
        assert!(sim.bob.events.contains(&ContactEvent::Resend { from: *seq, to: *seq }));
        assert!(sim.alice.events.contains(&ContactEvent::Found { seq: *seq }));
    }
    assert_eq!(sim.alice.texts(), ["3", "0", "1", "2"]);
    sim.alice.mailbox = vec![kept[1].clone(), kept[0].clone(), kept[2].clone()];
    sim.settle();
    assert_eq!(sim.alice.texts(), ["3", "0", "1", "2"]);
}

#[test]
fn a_server_that_loses_deposits_loses_no_messages() {
    for seed in 110..118 {
        losses(seed, Form::Whole);
    }
}

/// The handshake arrives; then one deposit in five is lost.
pub(super) fn losses(seed: u64, form: Form) {
    let mut sim = Sim::established(seed);
    sim.form = form;
    sim.chaos = Chaos { crash: 20, again: 30, reorder: 30, lose: 51 };
    let mut sent = [0; 2];
    while sent.iter().sum::<usize>() < 60 {
        let which = sim.pick(2);
        if sim.send(BOTH[which], text(&format!("{:?} {}", BOTH[which], sent[which]))).is_some() {
            sent[which] += 1;
        }
        for _ in 0..3 {
            sim.pull(Who::Bob);
            sim.pull(Who::Alice);
        }
        sim.now_ms += 60_000;
    }
    // A quiet network, and a few more words, so that holes show and are filled.
    sim.chaos = Chaos::default();
    for round in 0..6 {
        sim.now_ms += 2 * 60 * 60 * 1000;
        for who in BOTH {
            sim.send(who, text(&format!("last words {round}"))).unwrap();
        }
        sim.settle();
    }
    for (side, n) in [(&sim.bob, sent[1]), (&sim.alice, sent[0])] {
        assert_eq!(side.inbox.len(), n + 6, "seed {seed}");
        assert!(!side.events.contains(&ContactEvent::Fork));
    }
}

/// A whole life, with the process dying before each of its commits in turn.
#[test]
fn a06_a_crash_at_every_commit() {
    crashes(Form::Whole);
}

pub(super) fn crashes(form: Form) {
    let life = |crash_at: Option<usize>| {
        let mut sim = Sim::new(102);
        sim.crash_at = crash_at;
        sim.form = form;
        let mut sent = [0; 2];
        let (mut rotated, mut refilled) = (false, false);
        for _ in 0..40 {
            sim.pull(Who::Bob);
            sim.pull(Who::Alice);
            for (i, who) in BOTH.into_iter().enumerate() {
                if sent[i] < 4 && sim.send(who, text(&format!("{who:?} {}", sent[i]))).is_some() {
                    sent[i] += 1;
                }
            }
            if sent[0] >= 2 && !rotated {
                // One server stays; a second joins, and is left for another.
                rotated = sim.try_move(&[1, 3]);
            } else if rotated && !refilled {
                refilled = sim.try_move(&[1, 4]);
            }
        }
        sim.settle();
        assert!(rotated && refilled);
        let (alice, bob) = (sim.alice.contact(), sim.bob.contact());
        let target = alice.deposit_target().unwrap();
        assert_eq!(target.servers().map(|s| s.fingerprint()[0]).collect::<Vec<_>>(), [1, 4]);
        let polled: Vec<_> = bob.current_mailboxes().map(|m| (m.lkp.public(), m.token)).collect();
        assert_eq!(target.places().iter().map(|p| (p.lkp, p.token)).collect::<Vec<_>>(), polled);
        complete(&sim, 4);
        sim.commits
    };
    let commits = life(None);
    assert!(commits > 25, "{commits}");
    for crash in 1..=commits {
        life(Some(crash));
    }
}
