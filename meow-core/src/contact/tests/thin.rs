//! The thin form: sizes, whole conversations on a radio only, mixtures, and the attacks again.

use std::collections::BTreeSet;

use super::super::*;
use super::chaos::{complete, crashes, losses, story};
use super::sim::*;
use crate::crypto::{Random, SeededRandom};
use crate::message::{Body, Content, Receipt};
use crate::ratchet::Numbers;
use crate::request::{Deposit, ITEM_SIZES, Request, RequestKind, THIN_ITEM_SIZES};
use crate::wire::{Blob, Fixed, List, Wire};

/// 20 bytes.
const TEXT: &str = "we are at the harbor";

fn thin(seed: u64) -> Sim {
    let mut sim = Sim::established(seed);
    sim.form = Form::Thin;
    sim
}

fn wish_deniable(sim: &mut Sim, deniable: bool) {
    for who in BOTH {
        sim.act(who, |_, c, _, r| (Vec::from_iter(c.set_deniable(deniable, r).unwrap()), ())).unwrap();
        sim.settle();
    }
}

/// What one text costs: with a new Ekp, and once the other side has shown that it knows it.
fn costs(sim: &mut Sim, who: Who, words: &str) -> [usize; 2] {
    // The other side turns, so that this one may.
    sim.send(other(who), text("go on")).unwrap();
    sim.settle();
    [(); 2].map(|()| {
        sim.send(who, text(words)).unwrap();
        let len = sim.capture.last().unwrap().1.len();
        sim.settle();
        len
    })
}

#[test]
fn a_text_of_20_bytes_fits_the_frames() {
    assert_eq!(TEXT.len(), 20);
    let mut sim = thin(300);
    for who in BOTH {
        assert_eq!(costs(&mut sim, who, TEXT), [221, 109], "signed");
    }
    wish_deniable(&mut sim, true);
    for who in BOTH {
        assert_eq!(costs(&mut sim, who, TEXT), [109, 45], "deniable");
        assert_eq!(costs(&mut sim, who, &format!("{TEXT}!")), [109, 109], "one more byte");
    }
    // What docs/numbers.md says of the whole form.
    sim.form = Form::Whole;
    assert_eq!(costs(&mut sim, Who::Bob, TEXT), [96, 96]);
    sim.form = Form::Thin;
    // As far as a thin item goes, and beyond.
    assert_eq!(costs(&mut sim, Who::Bob, &"x".repeat(196)), [352, 221]);
    assert_eq!(costs(&mut sim, Who::Bob, &"x".repeat(197)), [352, 352]);
    for side in [&sim.bob, &sim.alice] {
        assert!(side.events.iter().all(|e| !matches!(e, ContactEvent::Fork | ContactEvent::Missing { .. })));
    }
}

#[test]
fn a_signed_thin_item_fits_the_first_packet_to_a_relay() {
    // 236 bytes, of which HPKE takes 53 and the end of padding one.
    let mut random = SeededRandom::new(301);
    let kind = RequestKind::Deposit(Deposit {
        mailbox: signing_key(&mut random).public(),
        token: Fixed([0xff; 16]),
        id: Fixed([0xff; 16]),
        keep_secs: 0,
        item: Blob::new(vec![0; 109]).unwrap(),
    });
    let request = Request { answer: 0, kind }.to_wire().unwrap();
    assert!(request.len() + 54 <= 236, "{}", request.len());
}

#[test]
fn the_time_of_a_text_travels_where_it_costs_nothing() {
    let mut sim = thin(302);
    wish_deniable(&mut sim, true);
    costs(&mut sim, Who::Bob, TEXT);
    costs(&mut sim, Who::Bob, "soon");
    let times: Vec<(u64, &str)> = sim
        .alice
        .inbox
        .iter()
        .filter_map(|(_, c)| match c {
            Content::Text { sent, text } => Some((*sent, &**text)),
            _ => None,
        })
        .collect();
    let at = 1_700_000_000_000;
    assert_eq!(times, [(at, TEXT), (0, TEXT), (at, "soon"), (at, "soon")]);
    // It is not in the digest either: what is sent again in whole items agrees with it.
    assert!(!sim.bob.events.contains(&ContactEvent::Fork));
}

/// Everything after the handshake on the radio: texts both ways, receipts, turns of a side that only listens, a change of
/// mode.
#[test]
fn a_whole_conversation_of_thin_items() {
    for (seed, deniable) in [(303, false), (304, true)] {
        let mut sim = thin(seed);
        let handshake = sim.capture.len();
        wish_deniable(&mut sim, deniable);
        let mut n = [0; 2];
        for round in 0..12 {
            for (i, who) in BOTH.into_iter().enumerate() {
                for _ in 0..[1, 3, 25][round % 3] {
                    sim.send(who, text(&format!("{who:?} {}", n[i]))).unwrap();
                    n[i] += 1;
                }
                if round % 4 == 0 {
                    sim.settle();
                }
            }
            sim.settle();
            for who in BOTH {
                sim.act(who, |side, c, _, r| {
                    c.mark_read(side.inbox.last().unwrap().0);
                    (Vec::from_iter(c.take_receipt(RECEIPTS, r).unwrap()), ())
                })
                .unwrap();
            }
            sim.settle();
            sim.now_ms += 60_000;
        }
        // One side only listens: it turns keys by itself.
        for _ in 0..45 {
            sim.send(Who::Bob, text(&format!("Bob {}", n[0]))).unwrap();
            n[0] += 1;
            sim.settle();
        }
        assert_eq!(n[0], n[1] + 45);
        for (side, from, count) in [(&sim.bob, Who::Alice, n[1]), (&sim.alice, Who::Bob, n[0])] {
            let want: Vec<String> = (0..count).map(|n| format!("{from:?} {n}")).collect();
            assert_eq!(side.texts(), want);
            assert!(side.aside.is_empty());
            assert!(side.log.keys().all(|seq| side.decrypted.contains(seq)));
            assert_eq!(side.read_upto, *side.log.keys().filter(|s| **s <= side.read_upto).max().unwrap());
            assert!(side.events.iter().all(|e| !matches!(
                e,
                ContactEvent::Fork | ContactEvent::Behind | ContactEvent::Missing { .. }
            )));
        }
        let sizes: BTreeSet<usize> = sim.capture[handshake..].iter().map(|(_, i)| i.len()).collect();
        assert_eq!(sizes, if deniable { [45, 109, 221] } else { [109, 221, 221] }.into(), "and no other");
    }
}

#[test]
fn a_lane_that_only_listens_turns_in_a_thin_item() {
    let mut sim = thin(305);
    wish_deniable(&mut sim, true);
    for _ in 0..20 {
        sim.send(Who::Alice, text("on and on")).unwrap();
    }
    let before = sim.capture.len();
    sim.settle();
    let items: Vec<usize> = sim.capture[before..].iter().map(|(_, i)| i.len()).collect();
    // Receipts, and one empty message that carries a new Ekp.
    assert!(items.iter().all(|len| THIN_ITEM_SIZES.contains(len)), "{items:?}");
    assert_eq!(items.iter().filter(|len| **len == 109).count(), 1, "{items:?}");
}

#[test]
fn a_mailbox_moves_over_the_radio() {
    let mut sim = thin(306);
    wish_deniable(&mut sim, true);
    costs(&mut sim, Who::Bob, TEXT);
    let before = sim.capture.len();
    let (_, server_two) = sim.act(Who::Bob, |_, c, _, r| move_to(c, &[2], r)).unwrap();
    sim.settle();
    assert!(sim.capture[before..].iter().all(|(_, i)| THIN_ITEM_SIZES.contains(&i.len())));
    assert_eq!(*sim.alice.contact().deposit_target().unwrap(), server_two);
    assert!(sim.bob.events.iter().any(|e| matches!(e, ContactEvent::CloseMailbox { .. })));
}

#[test]
fn a06_crashes_duplicates_and_reordering_lose_nothing_in_thin_items() {
    for (seed, form) in [(310, Form::Thin), (311, Form::Mixed), (312, Form::Thin), (313, Form::Mixed)] {
        let sim = story(seed, Chaos { crash: 40, again: 60, reorder: 120, lose: 0 }, form, 25);
        complete(&sim, 25);
    }
}

#[test]
fn lost_thin_items_come_again() {
    for (seed, form) in [(320, Form::Thin), (321, Form::Mixed), (322, Form::Thin), (323, Form::Mixed)] {
        losses(seed, form);
    }
}

#[test]
fn a06_a_crash_at_every_commit_of_thin_items() {
    crashes(Form::Thin);
}

#[test]
fn what_is_sent_again_says_its_number() {
    let mut sim = thin(330);
    wish_deniable(&mut sim, true);
    costs(&mut sim, Who::Bob, TEXT);
    let lost = sim.send(Who::Bob, text(&TEXT[..19])).unwrap();
    let item = sim.alice.mailbox.pop().unwrap();
    assert_eq!(item.len(), 45);
    sim.send(Who::Bob, text("after it")).unwrap();
    let before = sim.capture.len();
    sim.settle();
    assert!(sim.bob.events.contains(&ContactEvent::Resend { from: lost, to: lost }));
    assert!(sim.alice.events.contains(&ContactEvent::Found { seq: lost }));
    // Sequence, epoch and all of `seen` in place of its low bits: one byte more.
    let again = sim.capture[before..].iter().find(|(to, _)| *to == Who::Alice).unwrap();
    assert_eq!(again.1.len(), 45);
    sim.send(Who::Bob, text(TEXT)).unwrap();
    assert_eq!(sim.capture.last().unwrap().1.len(), 109, "until the chain ends");
    sim.settle();
    assert_eq!(costs(&mut sim, Who::Bob, TEXT), [109, 45]);
    // The first one comes after all.
    sim.alice.mailbox.push(item);
    sim.settle();
    assert_eq!(sim.alice.texts().iter().filter(|t| **t == &TEXT[..19]).count(), 1);
    assert!(!sim.bob.events.contains(&ContactEvent::Fork));
}

#[test]
fn a_long_silence_ends() {
    let mut sim = thin(331);
    wish_deniable(&mut sim, true);
    costs(&mut sim, Who::Bob, TEXT);
    // Everything of Bob's is lost for long: far more than may be skipped, and than low bits tell apart.
    let (mut bob, mut alice) = (sim.bob.contact(), sim.alice.contact());
    bob.set_thin(true);
    alice.set_thin(true);
    let r = &mut sim.random;
    for _ in 0..9_000 {
        assert_eq!(bob.send(&text(TEXT), r).unwrap().item.len(), 45);
    }
    let unread = bob.send(&text(TEXT), r).unwrap();
    assert_eq!(alice.receive(&unread.item, 0, r).unwrap(), Received::Unreadable);
    // One word of Alice's, and Bob's next chain brings them together again.
    let word = alice.send(&text("anybody?"), r).unwrap();
    assert!(matches!(bob.receive(&word.item, 0, r).unwrap(), Received::Opened(_)));
    let answer = bob.send(&text("here"), r).unwrap();
    let Received::Opened(output) = alice.receive(&answer.item, 0, r).unwrap() else { panic!("not opened") };
    let missing = ContactEvent::Missing { from: unread.seq - 9_000, to: unread.seq };
    assert!(output.events.contains(&missing), "{:?}", output.events);
    let back = alice.take_receipt(RECEIPTS, r).unwrap().unwrap();
    assert_eq!(back.item.len(), 45);
    let Received::Opened(output) = bob.receive(&back.item, 0, r).unwrap() else { panic!("not opened") };
    assert!(output.events.iter().any(|e| matches!(e, ContactEvent::Resend { .. })));
    let on = bob.send(&text(TEXT), r).unwrap();
    assert_eq!(on.item.len(), 45);
    assert!(matches!(alice.receive(&on.item, 0, r).unwrap(), Received::Opened(_)));
}

#[test]
fn numbers_beyond_their_low_bits_are_understood() {
    let (mut alice, mut bob) = super::established();
    // Both sides' numbers jump: each claims to have seen far more than was sent.
    bob.contact.got.top = 1 << 40;
    bob.out.push(bob.contact.begin_renewal(&mut bob.random).unwrap().item);
    super::settle(&mut alice, &mut bob);
    alice.contact.got.top = (1 << 17) + 40_000;
    alice.out.push(alice.contact.begin_renewal(&mut alice.random).unwrap().item);
    super::settle(&mut alice, &mut bob);
    for side in [&mut alice, &mut bob] {
        side.contact.set_thin(true);
        let wish = side.contact.set_deniable(true, &mut side.random).unwrap().unwrap();
        side.out.push(wish.item);
    }
    super::settle(&mut alice, &mut bob);
    for _ in 0..3 {
        let receipt = |s: &mut super::Side| s.contact.take_receipt(RECEIPTS, &mut s.random).unwrap().unwrap();
        alice.send(TEXT);
        super::settle(&mut alice, &mut bob);
        bob.send(TEXT);
        let news = receipt(&mut bob);
        bob.out.push(news.item);
        super::settle(&mut alice, &mut bob);
        let news = receipt(&mut alice);
        assert_eq!(news.item.len(), 45);
        alice.out.push(news.item);
        super::settle(&mut alice, &mut bob);
        let last = bob.send(TEXT);
        assert_eq!(bob.out.last().unwrap().len(), 45);
        super::settle(&mut alice, &mut bob);
        assert_eq!(alice.contact.got.seen().upto, last);
    }
    assert!(alice.contact.sent.last() > 1 << 40 && bob.contact.sent.last() > (1 << 17) + 40_000);
    assert!(alice.contact.seen_by_contact() > 1 << 40);
    assert!(!alice.has(&ContactEvent::Fork) && !bob.has(&ContactEvent::Fork));
    assert!(!alice.has(&ContactEvent::Behind) && !bob.has(&ContactEvent::Behind));
    assert_eq!((alice.unreadable, bob.unreadable), (0, 0));
    assert_eq!((alice.texts().len(), bob.texts().len()), (6, 3));
}

/// A thin message of `who` with whatever body, sealed with its real keys.
fn forge(sim: &mut Sim, who: Who, sign: bool, change: impl FnOnce(&mut Body)) -> Vec<u8> {
    let mut contact = sim.side(who).contact();
    let parties = contact.parties().unwrap();
    let (seq, seen) = (contact.sent.next, contact.got.seen());
    let mut body =
        Body { seq, epoch: 0, seen: seen.upto, digest: seen.short(), content: text("forged"), sig: None };
    change(&mut body);
    let ratchet = &mut contact.session.as_mut().unwrap().ratchet;
    let overhead = ratchet.thin_overhead(true);
    let size = body.fit_thin(false, sign, overhead).unwrap().unwrap();
    if sign {
        body.sign(&parties, &contact.me.lane).unwrap();
    }
    let plain = body.to_thin(false, size - overhead).unwrap();
    let numbers = Numbers { seq: body.seq, epoch: body.epoch };
    ratchet.encrypt_thin(&mut sim.random, true, &parties.associated_data(), numbers, true, &plain).unwrap()
}

fn give(sim: &mut Sim, who: Who, item: Vec<u8>) {
    sim.side(who).mailbox.push(item);
    sim.pull(who);
}

#[test]
fn a_fork_raises_the_alarm_in_a_thin_item() {
    let mut sim = thin(340);
    sim.send(Who::Bob, text("one")).unwrap();
    sim.settle();
    let honest = forge(&mut sim, Who::Alice, true, |_| {});
    let item = forge(&mut sim, Who::Alice, true, |b| b.digest.0[3] ^= 1);
    let mut calm = sim.bob.clone();
    give(&mut sim, Who::Bob, item);
    assert!(sim.bob.events.contains(&ContactEvent::Fork));
    std::mem::swap(&mut calm, &mut sim.bob);
    give(&mut sim, Who::Bob, honest);
    assert!(!sim.bob.events.contains(&ContactEvent::Fork));
    assert_eq!(sim.bob.texts(), ["forged"]);
}

#[test]
fn a_copy_of_a_store_shows_in_a_thin_item() {
    let mut sim = thin(341);
    costs(&mut sim, Who::Bob, TEXT);
    let copy = sim.bob.clone();
    sim.send(Who::Bob, text("forgotten here")).unwrap();
    sim.settle();
    // Bob's store is taken back; Alice has seen what it does not know of.
    sim.bob = copy;
    sim.send(Who::Alice, text("seen more")).unwrap();
    sim.settle();
    assert!(sim.bob.events.contains(&ContactEvent::Behind));
    assert!(sim.bob.events.contains(&ContactEvent::Renewed), "in whole items");
    let before = sim.capture.len();
    assert_eq!(costs(&mut sim, Who::Bob, TEXT), [221, 109], "and thin ones again");
    assert!(sim.capture[before..].iter().all(|(_, i)| THIN_ITEM_SIZES.contains(&i.len())));
}

#[test]
fn an_unsigned_thin_item_is_discarded() {
    let mut sim = thin(342);
    costs(&mut sim, Who::Alice, TEXT);
    let shown = sim.bob.inbox.len();
    let item = forge(&mut sim, Who::Alice, false, |_| {});
    give(&mut sim, Who::Bob, item);
    assert_eq!(sim.bob.inbox.len(), shown);
    // Nor is one that another key signed.
    let mut contact = sim.alice.contact();
    contact.set_thin(true);
    contact.me.lane = signing_key(&mut sim.random);
    let out = contact.send(&text("not hers"), &mut sim.random).unwrap();
    assert!(THIN_ITEM_SIZES.contains(&out.item.len()));
    give(&mut sim, Who::Bob, out.item);
    assert_eq!(sim.bob.inbox.len(), shown);
}

#[test]
fn a_lying_thin_receipt_or_sequence_costs_nothing() {
    let mut sim = thin(343);
    let seq = sim.send(Who::Bob, text("one")).unwrap();
    sim.alice.mailbox.clear();
    let also = List::new(vec![u64::MAX, 999, 1 << 40]).unwrap();
    let lie = Receipt { decrypted: u64::MAX, read: u64::MAX, also };
    let item = forge(&mut sim, Who::Alice, true, |b| b.content = Content::Receipt(lie));
    give(&mut sim, Who::Bob, item);
    assert_eq!((sim.bob.decrypted.iter().max(), sim.bob.read_upto), (Some(&seq), seq));
    for (seq, shown) in [(0, 0), (u64::MAX, 0), (1 << 62, 1)] {
        let mut sim = thin(344);
        let item = forge(&mut sim, Who::Alice, true, |b| b.seq = seq);
        give(&mut sim, Who::Bob, item);
        assert_eq!(sim.bob.inbox.len(), shown);
        assert!(sim.bob.disk.len() < 16_384);
    }
}

#[test]
fn a01_a_thin_capture_is_accepted_by_nobody() {
    let mut sim = thin(345);
    for _ in 0..3 {
        costs(&mut sim, Who::Bob, TEXT);
        costs(&mut sim, Who::Alice, TEXT);
    }
    let before: Vec<_> = BOTH.iter().map(|who| sim.side(*who).disk.clone()).collect();
    let mut random = SeededRandom::new(346);
    let mut all: Vec<Vec<u8>> = sim.capture.iter().map(|(_, item)| item.clone()).collect();
    for size in THIN_ITEM_SIZES.into_iter().cycle().take(300) {
        let mut junk = vec![0; size];
        random.fill(&mut junk).unwrap();
        all.push(junk);
    }
    for item in &all {
        for who in BOTH {
            let mut contact = sim.side(who).contact();
            match contact.receive(item, 0, &mut random).unwrap() {
                // An answer to the card, or a Confirm, may open to nothing; what is thin never does.
                Received::Opened(output) => {
                    assert!(!THIN_ITEM_SIZES.contains(&item.len()) && output == Output::default());
                }
                Received::Duplicate => assert!(!THIN_ITEM_SIZES.contains(&item.len())),
                Received::Unreadable => {}
            }
        }
    }
    let after: Vec<_> = BOTH.iter().map(|who| sim.side(*who).disk.clone()).collect();
    assert!(before == after);
}

#[test]
fn a15_a_thin_item_is_nothing_else_and_nothing_else_is_one() {
    let mut sim = thin(347);
    sim.form = Form::Mixed;
    for who in [Who::Bob, Who::Alice, Who::Bob, Who::Alice] {
        costs(&mut sim, who, TEXT);
    }
    // Not yet received ones, of both forms and directions.
    for form in [Form::Thin, Form::Whole, Form::Thin, Form::Whole] {
        sim.form = form;
        for who in BOTH {
            sim.send(who, text(TEXT)).unwrap();
        }
    }
    let mut elsewhere = thin(348);
    costs(&mut elsewhere, Who::Bob, TEXT);
    let sizes: Vec<usize> = ITEM_SIZES[..3].iter().chain(&THIN_ITEM_SIZES).copied().collect();
    let items: Vec<_> = sim.capture.iter().rev().take(16).cloned().collect();
    let mut random = SeededRandom::new(349);
    for (to, item) in &items {
        // In every other length, cut or filled, with and without the byte that whole items begin with.
        for size in &sizes {
            for suite in [None, Some(2u8), Some(6)] {
                let mut other = Vec::from_iter(suite);
                other.extend_from_slice(item);
                other.resize(*size, 0);
                if other == *item {
                    continue;
                }
                let mut contact = sim.side(*to).contact();
                let got = contact.receive(&other, 0, &mut random).unwrap();
                assert_eq!(got, Received::Unreadable, "{} as {size}", item.len());
            }
        }
        for who in BOTH {
            let mut contact = elsewhere.side(who).contact();
            assert_eq!(contact.receive(item, 0, &mut random).unwrap(), Received::Unreadable);
        }
        // Back to who sent it.
        let mut sender = sim.side(other(*to)).contact();
        assert!(!matches!(sender.receive(item, 0, &mut random).unwrap(), Received::Opened(_)));
    }
    sim.settle();
    assert_eq!((sim.bob.aside.len(), sim.alice.aside.len()), (0, 0));
}

#[test]
fn a37_no_key_seals_two_messages_of_whatever_form() {
    let mut sim = Sim::established(350);
    sim.form = Form::Mixed;
    let mut keys = BTreeSet::new();
    for n in 0..60 {
        let who = BOTH[sim.pick(2)];
        if let Some(key) = sim.side(who).contact().session.unwrap().ratchet.sending_key() {
            // A turn replaces this key unused; otherwise the message takes it.
            keys.insert((n, key));
        }
        sim.send(who, text(&format!("{n}"))).unwrap();
        if sim.dice(90) {
            sim.settle();
        }
    }
    let distinct: BTreeSet<_> = keys.iter().map(|(_, key)| key).collect();
    assert_eq!(distinct.len(), keys.len());
    let tags: BTreeSet<_> = sim.capture.iter().map(|(_, item)| &item[item.len() - 16..]).collect();
    assert_eq!(tags.len(), sim.capture.len());
}
