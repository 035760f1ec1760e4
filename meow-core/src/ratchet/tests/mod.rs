//! Tests of the ratchet: `orders` for losses and reorderings, `schedule` against a model, `thin` for thin messages.

mod orders;
mod schedule;
mod thin;

use super::*;
use crate::crypto::SeededRandom;

pub(super) const TO_B: [u8; 32] = [0xa1; 32];
pub(super) const TO_A: [u8; 32] = [0xb2; 32];

/// Two sides after a handshake; `a` sends first.
pub(super) struct Pair {
    pub(super) a: Ratchet,
    pub(super) b: Ratchet,
    pub(super) random: SeededRandom,
}

impl Pair {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let mut key = || Secret::generate(&mut random).unwrap();
        let keys = RatchetKeys { root: key(), header_first: key(), header_second: key() };
        let own = DhSecret::generate(&mut random).unwrap();
        let a = Ratchet::first(keys.clone(), &own.public(), &mut random).unwrap();
        Self { a, b: Ratchet::second(keys, own), random }
    }

    /// Both have turned once: headers are short from here on.
    pub(super) fn warm(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        for _ in 0..2 {
            let m = pair.a_sends(b"ping");
            accept(&mut pair.b, &TO_B, &m, b"ping");
            let m = pair.b_sends(b"pong");
            accept(&mut pair.a, &TO_A, &m, b"pong");
        }
        let m = pair.a_sends(b"ping");
        accept(&mut pair.b, &TO_B, &m, b"ping");
        pair
    }

    pub(super) fn a_sends(&mut self, text: &[u8]) -> Vec<u8> {
        self.a.encrypt(&mut self.random, true, &TO_B, text).unwrap()
    }

    pub(super) fn b_sends(&mut self, text: &[u8]) -> Vec<u8> {
        self.b.encrypt(&mut self.random, true, &TO_A, text).unwrap()
    }
}

pub(super) fn take(r: &mut Ratchet, ad: &[u8; 32], m: &[u8]) -> Result<Vec<u8>, RatchetError> {
    let (text, step) = r.decrypt(ad, m)?;
    r.apply(step)?;
    Ok(text)
}

pub(super) fn accept(r: &mut Ratchet, ad: &[u8; 32], m: &[u8], text: &[u8]) {
    assert_eq!(take(r, ad, m).unwrap(), text);
}

pub(super) fn bytes(r: &Ratchet) -> Vec<u8> {
    postcard::to_stdvec(r).unwrap()
}

#[test]
fn overhead_is_22_bytes_without_ekp() {
    let mut pair = Pair::warm(1);
    for (turn, want) in [(true, OVERHEAD_EKP), (false, OVERHEAD_EKP)] {
        assert_eq!(pair.b.overhead(turn), want);
        let m = pair.b.encrypt(&mut pair.random, turn, &TO_A, b"0123456789").unwrap();
        assert_eq!(m.len(), 10 + want);
        accept(&mut pair.a, &TO_A, &m, b"0123456789");
    }
    // A non-turning answer of A shows by its parity bit that it entered B's chain.
    let m = pair.a.encrypt(&mut pair.random, false, &TO_B, b"receipt").unwrap();
    accept(&mut pair.b, &TO_B, &m, b"receipt");
    let m = pair.b_sends(b"0123456789");
    assert_eq!(m.len(), 10 + OVERHEAD);
    assert_eq!(OVERHEAD, 22);
    accept(&mut pair.a, &TO_A, &m, b"0123456789");
}

#[test]
fn second_side_cannot_send_first() {
    let mut pair = Pair::new(2);
    let before = bytes(&pair.b);
    let refused = pair.b.encrypt(&mut pair.random, true, &TO_A, b"early").unwrap_err();
    assert_eq!(refused, RatchetError::NotStarted);
    assert_eq!(bytes(&pair.b), before);
}

#[test]
fn turns_only_alternate() {
    let mut pair = Pair::warm(3);
    let begun = pair.b.begun;
    for _ in 0..5 {
        let m = pair.b_sends(b"more");
        accept(&mut pair.a, &TO_A, &m, b"more");
    }
    assert_eq!(pair.b.begun, begun + 1, "one turn per chain of the other side");
    let begun = pair.a.begun;
    let m = pair.a.encrypt(&mut pair.random, false, &TO_B, b"receipt").unwrap();
    accept(&mut pair.b, &TO_B, &m, b"receipt");
    assert_eq!(pair.a.begun, begun, "receipts do not turn");
    let m = pair.a_sends(b"content");
    accept(&mut pair.b, &TO_B, &m, b"content");
    assert_eq!(pair.a.begun, begun + 1);
}

#[test]
fn state_survives_serialisation_and_steps_go_stale() {
    let mut pair = Pair::warm(4);
    let m1 = pair.b_sends(b"one");
    let m2 = pair.b_sends(b"two");
    let restored: Ratchet = postcard::from_bytes(&bytes(&pair.a)).unwrap();
    assert_eq!(restored.decrypt(&TO_A, &m1).unwrap().0, b"one");
    let (_, step1) = pair.a.decrypt(&TO_A, &m1).unwrap();
    let (_, step2) = pair.a.decrypt(&TO_A, &m2).unwrap();
    pair.a.apply(step2).unwrap();
    assert_eq!(pair.a.apply(step1).unwrap_err(), RatchetError::Stale);
    accept(&mut pair.a, &TO_A, &m1, b"one");
}

#[test]
fn debug_is_redacted() {
    let text = format!("{:?}", Pair::warm(5).a);
    assert!(text.starts_with("Ratchet { begun: 3, entered: 2, skipped: 0"), "{text}");
}

#[test]
fn failing_randomness_is_an_error_and_changes_nothing() {
    struct Dry;
    impl Random for Dry {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), CryptoError> {
            Err(CryptoError::NoRandomness)
        }
    }
    let mut pair = Pair::warm(6);
    let before = bytes(&pair.b);
    let failed = pair.b.encrypt(&mut Dry, true, &TO_A, b"x").unwrap_err();
    assert_eq!(failed, RatchetError::Crypto(CryptoError::NoRandomness));
    assert_eq!(bytes(&pair.b), before);
}

#[test]
fn a12_low_order_ekp() {
    let mut pair = Pair::new(7);
    let one = {
        let mut point = [0u8; 32];
        point[0] = 1;
        DhPublic::from_bytes(&point).unwrap()
    };
    let mut key = || Secret::generate(&mut pair.random).unwrap();
    let keys = RatchetKeys { root: key(), header_first: key(), header_second: key() };
    assert_eq!(Ratchet::first(keys, &one, &mut pair.random).unwrap_err(), CryptoError::BadKey);
}
