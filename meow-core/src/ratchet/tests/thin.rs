//! Thin messages: sizes, orders, gaps, forgery, and mixtures with whole ones.

use proptest::prelude::*;

use super::orders::permutations;
use super::*;

const EPOCH: u32 = 3;

/// Sends with numbers that count on from 1,000, thin or whole. Thin messages leave them out where they can.
fn say(r: &mut Ratchet, random: &mut SeededRandom, ad: &[u8; 32], thin: bool, seq: u64, turn: bool) -> Item {
    let numbers = Numbers { seq, epoch: EPOCH };
    let text = seq.to_be_bytes();
    if !thin {
        return Item { thin, numbers, bytes: r.encrypt_numbered(random, turn, ad, numbers, &text).unwrap() };
    }
    let implied = r.implies(turn, numbers);
    let overhead = r.thin_overhead(turn);
    let bytes = r.encrypt_thin(random, turn, ad, numbers, !implied, &text).unwrap();
    assert_eq!(bytes.len(), text.len() + overhead);
    Item { thin, numbers, bytes }
}

#[derive(Clone)]
struct Item {
    thin: bool,
    numbers: Numbers,
    bytes: Vec<u8>,
}

/// Opens in the form that the item has, and checks its numbers.
fn hear(r: &mut Ratchet, ad: &[u8; 32], item: &Item) -> Result<(), RatchetError> {
    let (plaintext, implied, mut step) = if item.thin {
        let opened = r.decrypt_thin(ad, &item.bytes)?;
        (opened.plaintext, opened.implied, opened.step)
    } else {
        let (plaintext, step) = r.decrypt(ad, &item.bytes)?;
        (plaintext, None, step)
    };
    assert_eq!(plaintext, item.numbers.seq.to_be_bytes());
    assert!(implied.is_none_or(|numbers| numbers == item.numbers));
    step.numbered(item.numbers);
    r.apply(step)
}

/// Two sides that talk in numbered messages; `b` has entered a chain of `a` and `a` knows it.
struct Talk {
    pair: Pair,
    a_seq: u64,
    b_seq: u64,
}

impl Talk {
    fn new(seed: u64) -> Self {
        let mut talk = Self { pair: Pair::new(seed), a_seq: 1000, b_seq: 5000 };
        for thin in [false, true] {
            let m = talk.a_says(thin, true);
            hear(&mut talk.pair.b, &TO_B, &m).unwrap();
            let m = talk.b_says(thin, true);
            hear(&mut talk.pair.a, &TO_A, &m).unwrap();
        }
        talk
    }

    fn a_says(&mut self, thin: bool, turn: bool) -> Item {
        self.a_seq += 1;
        say(&mut self.pair.a, &mut self.pair.random, &TO_B, thin, self.a_seq, turn)
    }

    fn b_says(&mut self, thin: bool, turn: bool) -> Item {
        self.b_seq += 1;
        say(&mut self.pair.b, &mut self.pair.random, &TO_A, thin, self.b_seq, turn)
    }

    /// A chain of `a` that `b` has entered and `a` knows it: thin messages are at their shortest.
    fn entered(seed: u64) -> Self {
        let mut talk = Self::new(seed);
        let m = talk.a_says(true, true);
        hear(&mut talk.pair.b, &TO_B, &m).unwrap();
        let m = talk.b_says(true, false);
        hear(&mut talk.pair.a, &TO_A, &m).unwrap();
        talk
    }
}

#[test]
fn thin_overhead_is_18_bytes_without_ekp() {
    let mut talk = Talk::new(30);
    assert_eq!((THIN_OVERHEAD, THIN_OVERHEAD_EKP), (18, 54));
    assert_eq!(talk.pair.a.thin_overhead(true), THIN_OVERHEAD_EKP);
    talk = Talk::entered(30);
    assert_eq!(talk.pair.a.thin_overhead(true), THIN_OVERHEAD);
    let m = talk.a_says(true, true);
    assert_eq!(m.bytes.len(), 8 + 18);
    hear(&mut talk.pair.b, &TO_B, &m).unwrap();
}

#[test]
fn numbers_are_left_out_only_where_they_are_known() {
    let mut talk = Talk::entered(31);
    let a = &mut talk.pair.a;
    let next = Numbers { seq: talk.a_seq + 1, epoch: EPOCH };
    assert!(a.implies(true, next));
    for other in [
        Numbers { seq: next.seq + 1, ..next },
        Numbers { seq: next.seq - 1, ..next },
        Numbers { seq: 0, ..next },
        Numbers { epoch: EPOCH + 1, ..next },
    ] {
        assert!(!a.implies(true, other));
        let before = bytes(a);
        let refused = a.encrypt_thin(&mut talk.pair.random, true, &TO_B, other, false, b"x").unwrap_err();
        assert_eq!(refused, RatchetError::Numbers);
        assert_eq!(bytes(a), before);
    }
    // One that is sent again breaks the count up to the end of the chain.
    let again = say(a, &mut talk.pair.random, &TO_B, true, 1001, true);
    hear(&mut talk.pair.b, &TO_B, &again).unwrap();
    assert!(!talk.pair.a.implies(true, next));
    let m = talk.a_says(true, true);
    hear(&mut talk.pair.b, &TO_B, &m).unwrap();
    let m = talk.b_says(true, true);
    hear(&mut talk.pair.a, &TO_A, &m).unwrap();
    let m = talk.a_says(true, true);
    hear(&mut talk.pair.b, &TO_B, &m).unwrap();
    let m = talk.b_says(true, false);
    hear(&mut talk.pair.a, &TO_A, &m).unwrap();
    assert!(talk.pair.a.implies(true, Numbers { seq: talk.a_seq + 1, epoch: EPOCH }));
}

#[test]
fn a_receiver_that_was_told_other_numbers_opens_nothing() {
    let mut talk = Talk::new(32);
    let m = talk.a_says(false, true);
    let mut lied_to = talk.pair.b.clone();
    hear(&mut talk.pair.b, &TO_B, &m).unwrap();
    let (_, mut step) = lied_to.decrypt(&TO_B, &m.bytes).unwrap();
    step.numbered(Numbers { seq: m.numbers.seq + 1, epoch: EPOCH });
    lied_to.apply(step).unwrap();
    let back = talk.b_says(true, false);
    hear(&mut talk.pair.a, &TO_A, &back).unwrap();
    let m = talk.a_says(true, true);
    assert_eq!(lied_to.decrypt_thin(&TO_B, &m.bytes).unwrap_err(), RatchetError::Rejected);
    hear(&mut talk.pair.b, &TO_B, &m).unwrap();
}

#[test]
fn a05_all_orders_of_six_thin_and_whole_messages_around_a_key_change() {
    // Which of the six are thin, by bits: all, none, and mixtures both ways.
    for mask in [0b11_1111u8, 0b10_1010, 0b01_0101, 0b11_0100, 0b00_1011, 0] {
        let thin = |i: usize| mask >> i & 1 == 1;
        let mut talk = Talk::entered(33);
        let mut messages: Vec<Item> = (0..3).map(|i| talk.a_says(thin(i), true)).collect();
        // B's turn lets A turn; three messages of the next chain. The middle one no longer carries the Ekp: the
        // copy that answers has entered it.
        let turn = talk.b_says(thin(0), true);
        hear(&mut talk.pair.a, &TO_A, &turn).unwrap();
        messages.push(talk.a_says(thin(3), true));
        messages.push(talk.a_says(thin(4), true));
        let receiver = talk.pair.b.clone();
        hear(&mut talk.pair.b, &TO_B, &messages[4]).unwrap();
        let known = talk.b_says(true, false);
        hear(&mut talk.pair.a, &TO_A, &known).unwrap();
        messages.push(talk.a_says(thin(5), true));
        let mut count = 0;
        permutations(6, &mut |order| {
            let mut b = receiver.clone();
            let mut aside: Vec<usize> = Vec::new();
            let mut got = Vec::new();
            for i in order {
                // What comes before its chain was entered waits, as items do.
                let mut todo = vec![*i];
                while let Some(i) = todo.pop() {
                    match hear(&mut b, &TO_B, &messages[i]) {
                        Ok(()) => {
                            got.push(i);
                            todo.append(&mut aside);
                        }
                        Err(e) => {
                            assert_eq!(e, RatchetError::Rejected);
                            assert_eq!(i, 5, "only the one without Ekp can be too early");
                            aside.push(i);
                        }
                    }
                }
            }
            got.sort_unstable();
            assert_eq!(got, [0, 1, 2, 3, 4, 5], "{order:?} of {mask:06b}");
            assert_eq!(b.skipped(), 0);
            for m in &messages {
                assert!(hear(&mut b, &TO_B, m).is_err(), "a01: once");
            }
            count += 1;
        });
        assert_eq!(count, 720);
    }
}

#[test]
fn a01_thin_messages_open_once_and_only_at_their_receiver() {
    let mut talk = Talk::entered(34);
    let mut captured = Vec::new();
    for i in 0..40 {
        let m = talk.a_says(true, true);
        hear(&mut talk.pair.b, &TO_B, &m).unwrap();
        captured.push(m);
        if i % 5 == 0 {
            let m = talk.b_says(true, i % 2 == 0);
            hear(&mut talk.pair.a, &TO_A, &m).unwrap();
            captured.push(m);
        }
    }
    for m in &captured {
        for side in [&talk.pair.a, &talk.pair.b] {
            for ad in [&TO_A, &TO_B] {
                assert_eq!(side.decrypt_thin(ad, &m.bytes).unwrap_err(), RatchetError::Rejected);
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_thin_message_is_refused() {
    let mut talk = Talk::new(35);
    let long = talk.a_says(true, true);
    let behind = talk.pair.b.clone();
    hear(&mut talk.pair.b, &TO_B, &long).unwrap();
    let back = talk.b_says(true, false);
    hear(&mut talk.pair.a, &TO_A, &back).unwrap();
    let short = talk.a_says(true, true);
    for (state, message) in [(&behind, &long.bytes), (&talk.pair.b, &short.bytes)] {
        let before = bytes(state);
        assert!(state.decrypt_thin(&TO_B, message).is_ok());
        for bit in 0..message.len() * 8 {
            let mut forged = message.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(state.decrypt_thin(&TO_B, &forged).is_err(), "bit {bit}");
        }
        for len in 0..message.len() {
            assert!(state.decrypt_thin(&TO_B, &message[..len]).is_err(), "cut at {len}");
        }
        assert!(state.decrypt_thin(&TO_A, message).is_err(), "wrong associated data");
        assert_eq!(bytes(state), before);
    }
}

#[test]
fn a15_neither_form_is_taken_for_the_other() {
    let mut talk = Talk::new(36);
    for _ in 0..3 {
        for thin in [true, false] {
            let m = talk.a_says(thin, true);
            let b = &talk.pair.b;
            let with_suite = [&[2], m.bytes.as_slice()].concat();
            if thin {
                for bytes in [&m.bytes, &with_suite] {
                    assert!(b.decrypt(&TO_B, bytes).is_err());
                }
            } else {
                for bytes in [m.bytes.as_slice(), &m.bytes[1..]] {
                    assert!(b.decrypt_thin(&TO_B, bytes).is_err());
                }
            }
            hear(&mut talk.pair.b, &TO_B, &m).unwrap();
            let back = talk.b_says(thin, thin);
            hear(&mut talk.pair.a, &TO_A, &back).unwrap();
        }
    }
}

#[test]
fn losses_are_survived_and_skips_bounded_in_the_thin_form() {
    let mut talk = Talk::entered(37);
    let far: Vec<Item> = (0..1002).map(|_| talk.a_says(true, true)).collect();
    let b = &mut talk.pair.b;
    assert!(hear(b, &TO_B, &far[1001]).is_err(), "1,001 ahead");
    hear(b, &TO_B, &far[1000]).unwrap();
    assert_eq!(b.skipped(), 1000);
    hear(b, &TO_B, &far[1001]).unwrap();
    hear(b, &TO_B, &far[3]).unwrap();
    assert_eq!(b.skipped(), 999);
    assert!(hear(b, &TO_B, &far[3]).is_err());

    // Thousands are lost; the next chain is entered all the same, and stragglers of the old one still open.
    for _ in 0..4000 {
        talk.a_says(true, true);
    }
    for round in 0..3 {
        let m = talk.b_says(true, true);
        hear(&mut talk.pair.a, &TO_A, &m).unwrap();
        let lost: Vec<_> = (0..700).map(|_| talk.a_says(true, true)).collect();
        let m = talk.a_says(true, true);
        hear(&mut talk.pair.b, &TO_B, &m).unwrap();
        assert!(talk.pair.b.skipped() <= 2000, "round {round}");
        hear(&mut talk.pair.b, &TO_B, &lost[699]).unwrap();
    }
    assert_eq!(talk.pair.b.skipped(), 1999);
    assert!(hear(&mut talk.pair.b, &TO_B, &far[4]).is_err(), "the oldest keys went first");
}

#[test]
fn long_one_way_thin_traffic() {
    let mut talk = Talk::entered(38);
    // More than twice as many as the low bits of the number can tell apart; one in a thousand is lost or late.
    let mut late = Vec::new();
    for i in 0..20_000 {
        let m = talk.a_says(true, true);
        assert_eq!(m.bytes.len(), 8 + 18);
        match i % 1000 {
            7 => late.push(m),
            _ => hear(&mut talk.pair.b, &TO_B, &m).unwrap(),
        }
    }
    assert_eq!(talk.pair.b.skipped(), late.len());
    // The newest of those with the same low bits.
    for m in late.iter().rev() {
        hear(&mut talk.pair.b, &TO_B, m).unwrap();
    }
    assert_eq!(talk.pair.b.skipped(), 0);
}

#[test]
fn stragglers_of_former_chains_know_their_numbers() {
    let mut talk = Talk::entered(39);
    let mut late = Vec::new();
    for _ in 0..3 {
        late.extend([talk.a_says(true, true), talk.a_says(true, true)]);
        let m = talk.a_says(true, true);
        hear(&mut talk.pair.b, &TO_B, &m).unwrap();
        for turn in [true, false] {
            let m = talk.b_says(true, turn);
            hear(&mut talk.pair.a, &TO_A, &m).unwrap();
            let m = talk.a_says(true, true);
            hear(&mut talk.pair.b, &TO_B, &m).unwrap();
        }
    }
    assert!(late.iter().any(|m| m.bytes.len() == 8 + 18));
    for m in late.iter().rev() {
        hear(&mut talk.pair.b, &TO_B, m).unwrap();
    }
    assert_eq!(talk.pair.b.skipped(), 0);
}

#[derive(Clone, Debug)]
enum Act {
    Send { from_a: bool, turn: bool, thin: bool, again: bool },
    Deliver { to_a: bool, which: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.05))
            .prop_map(|(from_a, turn, thin, again)| Act::Send { from_a, turn, thin, again }),
        5 => (any::<bool>(), any::<usize>()).prop_map(|(to_a, which)| Act::Deliver { to_a, which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Against a model: each message is accepted once, as it was sent, whatever the network does to a mixture of forms.
    #[test]
    fn random_schedules_of_both_forms(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..160)) {
        let mut talk = Talk::new(seed);
        let mut ways: [Vec<(Item, bool)>; 2] = [Vec::new(), Vec::new()];
        for act in acts {
            match act {
                Act::Send { from_a, turn, thin, again } => {
                    // Sent again under an old number.
                    let seq = if from_a { &mut talk.a_seq } else { &mut talk.b_seq };
                    let keep = *seq;
                    if again { *seq -= 3; }
                    let item = if from_a { talk.a_says(thin, turn) } else { talk.b_says(thin, turn) };
                    if again { *(if from_a { &mut talk.a_seq } else { &mut talk.b_seq }) = keep; }
                    ways[usize::from(!from_a)].push((item, false));
                }
                Act::Deliver { to_a, which } => {
                    let way = &mut ways[usize::from(to_a)];
                    if way.is_empty() { continue; }
                    let at = which % way.len();
                    let (r, ad) = if to_a { (&mut talk.pair.a, &TO_A) } else { (&mut talk.pair.b, &TO_B) };
                    let (item, accepted) = &mut way[at];
                    let got = hear(r, ad, item);
                    if *accepted { prop_assert!(got.is_err()); }
                    *accepted |= got.is_ok();
                    *r = postcard::from_bytes(&bytes(r)).unwrap();
                }
            }
        }
        // Whatever is left arrives in the end, in order.
        for (to_a, way) in [false, true].into_iter().zip(&mut ways) {
            let (r, ad) = if to_a { (&mut talk.pair.a, &TO_A) } else { (&mut talk.pair.b, &TO_B) };
            for (item, accepted) in way.iter_mut().filter(|(_, accepted)| !*accepted) {
                hear(r, ad, item).unwrap();
                *accepted = true;
            }
        }
        prop_assert_eq!(talk.pair.a.skipped() + talk.pair.b.skipped(), 0);
    }
}
