//! Loss, duplication, reordering, forgery and theft.

use super::*;

/// Calls `f` with every order of `0..n`.
pub(super) fn permutations(n: usize, f: &mut dyn FnMut(&[usize])) {
    fn go(rest: &mut Vec<usize>, order: &mut Vec<usize>, f: &mut dyn FnMut(&[usize])) {
        if rest.is_empty() {
            return f(order);
        }
        for i in 0..rest.len() {
            let next = rest.remove(i);
            order.push(next);
            go(rest, order, f);
            order.pop();
            rest.insert(i, next);
        }
    }
    go(&mut (0..n).collect(), &mut Vec::new(), f);
}

#[test]
fn a05_all_orders_of_six_messages_around_a_key_change() {
    let mut pair = Pair::warm(10);
    // Three of one chain, then A's turn is answered, then three of the next chain.
    let mut messages: Vec<Vec<u8>> = (0..3u8).map(|i| pair.b_sends(&[i])).collect();
    let mut ahead = pair.a.clone();
    accept(&mut ahead, &TO_A, &messages[0], &[0]);
    let turn = ahead.encrypt(&mut pair.random, true, &TO_B, b"turn").unwrap();
    accept(&mut pair.b, &TO_B, &turn, b"turn");
    messages.extend((3..6u8).map(|i| pair.b_sends(&[i])));

    let mut orders = 0;
    permutations(5, &mut |order| {
        // Message 0 came first, or A could not have turned: all orders of the other five, and in each of
        // them message 0 again at every place.
        for place in 0..=order.len() {
            let mut a = ahead.clone();
            for (at, i) in order.iter().enumerate() {
                if at == place {
                    assert!(take(&mut a, &TO_A, &messages[0]).is_err());
                }
                accept(&mut a, &TO_A, &messages[i + 1], &[u8::try_from(i + 1).unwrap()]);
            }
            assert_eq!(a.skipped(), 0);
            orders += 1;
        }
    });
    assert_eq!(orders, 720);
}

#[test]
fn a05_all_orders_of_six_messages_over_three_chains() {
    let mut pair = Pair::warm(11);
    // A lags: a second copy of A answers so that B turns, while the copy under test has received nothing.
    let first = pair.b_sends(&[0]);
    let second = pair.b_sends(&[1]);
    let base = pair.a.clone();
    let mut quick = pair.a.clone();
    accept(&mut quick, &TO_A, &first, &[0]);
    let turn = quick.encrypt(&mut pair.random, true, &TO_B, b"turn").unwrap();
    let late: Vec<Vec<u8>> = [first, second].into();
    accept(&mut pair.b, &TO_B, &turn, b"turn");
    let messages: Vec<Vec<u8>> = late.into_iter().chain((2..6u8).map(|i| pair.b_sends(&[i]))).collect();
    let mut orders = 0;
    permutations(6, &mut |order| {
        let mut a = quick.clone();
        let mut got = Vec::new();
        for i in order {
            match take(&mut a, &TO_A, &messages[*i]) {
                Ok(text) => got.push(text[0]),
                Err(e) => {
                    assert_eq!((*i, true), (0, matches!(e, RatchetError::Repeated | RatchetError::Rejected)))
                }
            }
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3, 4, 5]);
        orders += 1;
    });
    assert_eq!(orders, 720);
    // Without having turned, the same state reads its chain and nothing of the chain after it.
    let mut a = base;
    accept(&mut a, &TO_A, &messages[1], &[1]);
    assert_eq!(take(&mut a, &TO_A, &messages[2]).unwrap_err(), RatchetError::Rejected);
}

#[test]
fn a01_duplicates_and_reflections_are_refused() {
    let mut pair = Pair::warm(12);
    let mut captured = Vec::new();
    for i in 0..40u8 {
        let m = pair.b_sends(&[i]);
        accept(&mut pair.a, &TO_A, &m, &[i]);
        captured.push(m);
        if i % 3 == 0 {
            let m = pair.a_sends(&[i]);
            accept(&mut pair.b, &TO_B, &m, &[i]);
            captured.push(m);
        }
    }
    let (a, b) = (bytes(&pair.a), bytes(&pair.b));
    for m in &captured {
        for side in [&pair.a, &pair.b] {
            assert!(side.decrypt(&TO_A, m).is_err());
            assert!(side.decrypt(&TO_B, m).is_err());
        }
    }
    assert_eq!((a, b), (bytes(&pair.a), bytes(&pair.b)));
    let last = pair.b_sends(b"x");
    accept(&mut pair.a, &TO_A, &last, b"x");
    assert_eq!(pair.a.decrypt(&TO_A, &last).unwrap_err(), RatchetError::Repeated);
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut pair = Pair::warm(13);
    let long = pair.b_sends(b"with ekp");
    let mut other = pair.a.clone();
    accept(&mut other, &TO_A, &long, b"with ekp");
    let receipt = other.encrypt(&mut pair.random, false, &TO_B, b"").unwrap();
    accept(&mut pair.b, &TO_B, &receipt, b"");
    let short = pair.b_sends(b"without");
    for (state, message) in [(&pair.a, &long), (&other, &short)] {
        let before = bytes(state);
        assert!(state.decrypt(&TO_A, message).is_ok());
        for bit in 0..message.len() * 8 {
            let mut forged = message.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(state.decrypt(&TO_A, &forged).is_err(), "bit {bit}");
        }
        for len in 0..message.len() {
            assert!(state.decrypt(&TO_A, &message[..len]).is_err(), "cut at {len}");
        }
        assert!(state.decrypt(&TO_B, message).is_err(), "wrong associated data");
        assert_eq!(bytes(state), before);
    }
}

#[test]
fn losses_are_survived_and_skips_bounded() {
    let mut pair = Pair::warm(14);
    let far: Vec<Vec<u8>> = (0..1002u32).map(|i| pair.b_sends(&i.to_be_bytes())).collect();
    let mut a = pair.a.clone();
    assert!(take(&mut a, &TO_A, &far[1001]).is_err(), "1,001 ahead");
    accept(&mut a, &TO_A, &far[1000], &1000u32.to_be_bytes());
    assert_eq!(a.skipped(), 1000);
    accept(&mut a, &TO_A, &far[1001], &1001u32.to_be_bytes());
    accept(&mut a, &TO_A, &far[3], &3u32.to_be_bytes());
    assert_eq!(a.skipped(), 999);

    // 4,000 lost messages of a chain do not keep the next chain from being entered.
    pair.a = a;
    for _ in 0..4000 {
        pair.b_sends(b"lost");
    }
    for round in 0..3 {
        let m = pair.a_sends(b"turn");
        accept(&mut pair.b, &TO_B, &m, b"turn");
        let _lost: Vec<_> = (0..700).map(|_| pair.b_sends(b"lost too")).collect();
        let m = pair.b_sends(b"arrives");
        accept(&mut pair.a, &TO_A, &m, b"arrives");
        assert!(pair.a.skipped() <= 2000, "round {round}");
    }
    assert_eq!(pair.a.skipped(), 2000);
    assert!(pair.a.decrypt(&TO_A, &far[4]).is_err(), "the oldest keys went first");
}

#[test]
fn long_one_way_traffic() {
    let mut pair = Pair::warm(15);
    for i in 0..20_000u32 {
        let m = pair.b_sends(&i.to_be_bytes());
        accept(&mut pair.a, &TO_A, &m, &i.to_be_bytes());
    }
    assert_eq!(pair.a.skipped(), 0);
    let m = pair.a_sends(b"at last");
    accept(&mut pair.b, &TO_B, &m, b"at last");
}

#[test]
fn stolen_snapshot_heals_after_one_round_trip() {
    let mut pair = Pair::warm(16);
    let mut thief = pair.a.clone();
    let m = pair.b_sends(b"readable");
    accept(&mut thief, &TO_A, &m, b"readable");
    accept(&mut pair.a, &TO_A, &m, b"readable");
    // A's content turns to an Ekp that the thief has not; B's answer is beyond its reach.
    let m = pair.a_sends(b"turn");
    accept(&mut pair.b, &TO_B, &m, b"turn");
    for _ in 0..3 {
        let m = pair.b_sends(b"safe");
        assert_eq!(take(&mut thief, &TO_A, &m).unwrap_err(), RatchetError::Rejected);
        accept(&mut pair.a, &TO_A, &m, b"safe");
        let m = pair.a_sends(b"safe");
        accept(&mut pair.b, &TO_B, &m, b"safe");
    }
    // Also with what the thief would do himself: turn, and impersonate nobody.
    let forged = thief.encrypt(&mut pair.random, true, &TO_B, b"forged").unwrap();
    assert!(take(&mut pair.b, &TO_B, &forged).is_err());
}

#[test]
fn past_messages_stay_closed_to_a_thief() {
    let mut pair = Pair::warm(17);
    let past: Vec<_> = (0..5).map(|_| pair.b_sends(b"past")).collect();
    for m in &past {
        accept(&mut pair.a, &TO_A, m, b"past");
    }
    for m in &past {
        assert!(pair.a.decrypt(&TO_A, m).is_err());
    }
}
