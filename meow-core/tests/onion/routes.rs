//! What honest servers do.

use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::crypto::{CryptoError, DhPublic, Random, SeededRandom};
use meow_core::onion::{Delay, HopId, MAX_HOPS, OnionClass, OnionError, Opened, Step, seal, seal_with_reply};
use meow_core::wire::WireError;
use proptest::prelude::*;

use crate::chain::{ask, back, servers, steps, walk};

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    SeededRandom::new(seed).fill(&mut out).unwrap();
    out
}

/// A request there, its answer back: what everybody on the way finds.
fn round_trip(class: OnionClass, hops: usize, request: &[u8], answer: &[u8], seed: u64) {
    let mut random = SeededRandom::new(seed);
    let chain = servers(hops, &mut random);
    let (packet, pending) = ask(class, &chain, request, &mut random);
    let held = chain[0].open(&packet).unwrap().hold().expect("the first server holds the link");
    let (seen, delivery) = walk(&chain, packet);
    for (i, (server, packet)) in chain.iter().zip(&seen).enumerate() {
        assert_eq!(packet.len(), class.len());
        let opened = server.open(packet).unwrap();
        assert_eq!(opened.delay().duration(), Duration::from_millis(10 * i as u64));
        assert_eq!(opened.hold().is_some(), i == 0, "only the first holds");
    }
    assert_eq!(delivery.request, request);
    let block = delivery.reply.unwrap();
    let mut returning: Vec<_> = chain[..hops - 1].iter().rev().collect();
    if returning.is_empty() {
        returning.push(&chain[0]);
    }
    assert_eq!(block.first(), returning[0].id);
    let mut packet = block.answer(class, answer).unwrap();
    let (entry, before) = returning.split_last().unwrap();
    for (i, server) in before.iter().enumerate() {
        let (next, after) = server.forward(&packet);
        assert_eq!((next, after.len()), (returning[i + 1].id, class.len()));
        packet = after;
    }
    let (slot, packet) = entry.reply(&packet);
    assert_eq!((slot, packet.len()), (held, class.len()));
    assert_eq!(pending.class(), class);
    assert_eq!(pending.open(packet).unwrap(), answer);
}

#[test]
fn every_number_of_hops_carries_the_fullest_request_and_answer() {
    for class in OnionClass::ALL {
        for hops in 1..=MAX_HOPS {
            let request = bytes(class.request_room(true), 1);
            round_trip(class, hops, &request, &bytes(class.answer_room(), 2), hops as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_request_comes_as_it_was(
        hops in 1..=MAX_HOPS, large in any::<bool>(), seed in any::<u64>(),
        request in proptest::collection::vec(any::<u8>(), 0..1203),
        answer in proptest::collection::vec(any::<u8>(), 0..1641),
    ) {
        let class = if large { OnionClass::Large } else { OnionClass::Small };
        round_trip(class, hops, &request, &answer, seed);
    }

    #[test]
    fn bytes_of_any_kind_are_refused_quietly(data in proptest::collection::vec(any::<u8>(), 0..2100)) {
        let chain = servers(1, &mut SeededRandom::new(1));
        prop_assert_eq!(chain[0].open(&data).err(), Some(CryptoError::Rejected));
    }
}

#[test]
fn a_packet_without_a_reply_block_holds_no_link_and_has_more_room() {
    let mut random = SeededRandom::new(3);
    for class in OnionClass::ALL {
        assert_eq!(class.request_room(false) - class.request_room(true), 437);
        for hops in 1..=MAX_HOPS {
            let chain = servers(hops, &mut random);
            let request = bytes(class.request_room(false), 4);
            let packet = seal(class, &steps(&chain), &request, &mut random).unwrap();
            assert!(chain[0].open(&packet).unwrap().hold().is_none());
            let (_, delivery) = walk(&chain, packet);
            assert_eq!(delivery.request, request);
            assert!(delivery.reply.is_none());
            assert_eq!(
                seal(class, &steps(&chain), &[request, vec![0]].concat(), &mut random),
                Err(OnionError::TooLong)
            );
        }
    }
}

#[test]
fn rooms_are_those_of_the_spec() {
    let rooms = OnionClass::ALL.map(|c| (c.request_room(false), c.request_room(true), c.answer_room()));
    assert_eq!(rooms, [(1640, 1203, 1641), (33_384, 32_947, 33_385)]);
}

#[test]
fn routes_that_cannot_be_are_refused() {
    let mut random = SeededRandom::new(5);
    let chain = servers(6, &mut random);
    let class = OnionClass::Small;
    assert_eq!(seal(class, &[], b"", &mut random), Err(OnionError::Route));
    assert_eq!(seal(class, &steps(&chain), b"", &mut random), Err(OnionError::Route));
    let there = steps(&chain[..3]);
    let elsewhere = vec![chain[1].step(0)];
    let refused = |back: &[Step], random: &mut SeededRandom| {
        seal_with_reply(class, &there, back, b"", random).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(&elsewhere, &mut random), OnionError::Back);
    assert_eq!(refused(&[], &mut random), OnionError::Route);
    let long: Vec<_> = chain.iter().rev().map(|server| server.step(0)).collect();
    assert_eq!(refused(&long, &mut random), OnionError::Route);
    assert_eq!(meow_core::Error::from(OnionError::Back).kind(), ErrorKind::Usage);
    assert_eq!(meow_core::Error::from(OnionError::TooLong).kind(), ErrorKind::Limit);
    let (packet, _) = seal_with_reply(class, &there, &back(&chain[..3]), b"x", &mut random).unwrap();
    let block = walk(&chain[..3], packet).1.reply.unwrap();
    let too_long = vec![0; class.answer_room() + 1];
    assert_eq!(block.answer(class, &too_long).unwrap_err(), OnionError::TooLong);
}

#[test]
fn a12_low_order_x25519_keys_of_a_hop_are_refused() {
    let mut random = SeededRandom::new(6);
    let mut low = [0; 32];
    low[0] = 1;
    let key = DhPublic::from_bytes(&low).unwrap();
    let step = Step { id: HopId([1; 16]), number: 1, key, delay: Delay::NONE };
    let refused = seal(OnionClass::Small, &[step], b"", &mut random).unwrap_err();
    assert_eq!(refused, OnionError::Crypto(CryptoError::BadKey));
}

#[test]
fn a14_a_source_of_randomness_that_fails_is_an_error() {
    struct Failing(usize);
    impl Random for Failing {
        fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
            self.0 = self.0.checked_sub(1).ok_or(CryptoError::NoRandomness)?;
            buffer.fill(self.0 as u8 + 1);
            Ok(())
        }
    }
    let chain = servers(2, &mut SeededRandom::new(7));
    let (there, back) = (steps(&chain), back(&chain));
    let drawn = (0..)
        .find(|n| seal_with_reply(OnionClass::Small, &there, &back, b"", &mut Failing(*n)).is_ok())
        .unwrap();
    assert_eq!(drawn, 6, "two keys and noise there, one and noise back, the key of the answer");
}

#[test]
fn hints_are_read_before_any_key_is_used() {
    let mut random = SeededRandom::new(8);
    let chain = servers(2, &mut random);
    let packet = seal(OnionClass::Small, &steps(&chain), b"", &mut random).unwrap();
    assert_eq!(Opened::key_hint(&packet), Ok(0x00));
    let (_, packet) = chain[0].forward(&packet);
    assert_eq!(Opened::key_hint(&packet), Ok(0x01));
    assert_eq!(Opened::key_hint(&packet[1..]), Err(WireError::Invalid));
    assert_eq!(Opened::key_hint(&packet[..2047]), Err(WireError::Invalid));
    assert_eq!(Opened::key_hint(&[&[0x17], &packet[1..]].concat()), Err(WireError::NewerVersion));
    assert_eq!(Opened::key_hint(&[]), Err(WireError::Invalid));
}

#[test]
fn nothing_secret_is_shown() {
    let mut random = SeededRandom::new(9);
    let chain = servers(2, &mut random);
    let (packet, pending) = ask(OnionClass::Small, &chain, b"secret request", &mut random);
    let opened = chain[0].open(&packet).unwrap();
    let shown = format!("{opened:?} {:?} {:?} {:?} {pending:?}", opened.tag(), opened.hold(), chain[0].key);
    assert_eq!(
        shown,
        "Opened { class: Small, .. } ReplayTag(..) Some(ReplySlot(..)) \
         HopKey { number: 256, secret: DhSecret(..), public: DhPublic(..) } PendingReply { class: Small, .. }"
    );
    assert_eq!(format!("{:?}", chain[0].id), "HopId(..)");
    let (_, delivery) = walk(&chain, packet);
    assert_eq!(format!("{:?}", delivery.reply), "Some(ReplyBlock(..))");
}
