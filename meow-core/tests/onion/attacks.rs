//! Replays, loops, tagging.

use std::collections::HashSet;

use meow_core::crypto::{CryptoError, SeededRandom};
use meow_core::onion::{MAX_HOPS, OnionClass, Opened, Outcome, Step, seal};

use crate::chain::{ask, servers, steps, walk};

const HEADER_END: usize = 390;

#[test]
fn a04_a_replayed_packet_shows_the_same_tag_and_no_other_packet_does() {
    let mut random = SeededRandom::new(20);
    let chain = servers(3, &mut random);
    let mut tags = HashSet::new();
    for _ in 0..50 {
        let (packet, _) = ask(OnionClass::Small, &chain, b"the same request", &mut random);
        let (seen, _) = walk(&chain, packet);
        for (server, packet) in chain.iter().zip(&seen) {
            let tag = server.open(packet).unwrap().tag();
            assert_eq!(server.open(packet).unwrap().tag(), tag);
            assert!(tags.insert(tag));
            // The payload is no part of the tag: a changed copy is a replay too.
            let mut changed = packet.clone();
            changed[HEADER_END + 100] ^= 1;
            assert_eq!(server.open(&changed).unwrap().tag(), tag);
        }
    }
}

#[test]
fn a04_a_reply_block_used_twice_shows_the_same_tag() {
    let mut random = SeededRandom::new(21);
    let chain = servers(3, &mut random);
    let (packet, _) = ask(OnionClass::Small, &chain, b"", &mut random);
    let (seen, first) = walk(&chain, packet);
    let again = chain[2].deliver(&seen[2]);
    let answer = |reply: Option<meow_core::onion::ReplyBlock>, text: &[u8]| {
        reply.unwrap().answer(OnionClass::Small, text).unwrap()
    };
    let (one, two) = (answer(first.reply, b"one"), answer(again.reply, b"two"));
    assert_ne!(one, two);
    assert_eq!(chain[1].open(&one).unwrap().tag(), chain[1].open(&two).unwrap().tag());
}

#[test]
fn a22_a_loop_ends_after_five_hops_and_multiplies_nothing() {
    let mut random = SeededRandom::new(22);
    let pair = servers(2, &mut random);
    // The longest loop that a header can say: A, B, A, B, A.
    let route: Vec<Step> = (0..MAX_HOPS).map(|i| pair[i % 2].step(0)).collect();
    let mut packet = seal(OnionClass::Small, &route, b"loop", &mut random).unwrap();
    let mut sent = 0;
    for at in 0.. {
        // One packet in gives one outcome, and that holds one packet at most.
        match pair[at % 2].peel(&packet) {
            Outcome::Forward { packet: next, .. } => packet = next,
            Outcome::Deliver(delivery) => {
                assert_eq!(delivery.request, b"loop");
                break;
            }
            other => panic!("{other:?}"),
        }
        sent += 1;
    }
    assert_eq!(sent, MAX_HOPS - 1);
}

#[test]
fn a22_headers_cannot_be_chained_to_a_longer_way() {
    let mut random = SeededRandom::new(23);
    let chain = servers(5, &mut random);
    let packet = seal(OnionClass::Small, &steps(&chain), b"", &mut random).unwrap();
    let (seen, _) = walk(&chain, packet);
    // What the last hop has left over is no header for anybody.
    let Outcome::Deliver(_) = chain[4].peel(&seen[4]) else { panic!() };
    for server in &chain {
        for packet in &seen {
            let other = server.open(packet).is_ok();
            assert_eq!(other, std::ptr::eq(server, &chain[seen.iter().position(|p| p == packet).unwrap()]));
        }
    }
}

#[test]
fn a23_a_flipped_byte_in_the_header_is_dropped_by_the_next_hop() {
    let mut random = SeededRandom::new(24);
    let chain = servers(3, &mut random);
    let (packet, _) = ask(OnionClass::Small, &chain, b"request", &mut random);
    for at in 0..HEADER_END * 8 {
        let mut bad = packet.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert_eq!(chain[0].open(&bad).err(), Some(CryptoError::Rejected), "bit {at}");
    }
    // Behind the first hop, too: whatever the first one changes, the second drops.
    let (_, second) = chain[0].forward(&packet);
    for at in 0..HEADER_END {
        let mut bad = second.clone();
        bad[at] ^= 0x40;
        assert_eq!(chain[1].open(&bad).err(), Some(CryptoError::Rejected), "byte {at}");
    }
}

#[test]
fn a23_a_flipped_byte_in_the_payload_is_noise_to_all_who_follow() {
    let mut random = SeededRandom::new(25);
    let chain = servers(3, &mut random);
    let request = vec![b'r'; OnionClass::Small.request_room(true)];
    let (packet, _) = ask(OnionClass::Small, &chain, &request, &mut random);
    let honest = walk(&chain, packet.clone()).0;
    for at in (HEADER_END..packet.len()).step_by(7) {
        let mut bad = packet.clone();
        bad[at] ^= 1;
        for (i, server) in chain[..2].iter().enumerate() {
            let (next, after) = server.forward(&bad);
            // The header goes the way of the honest packet, the payload shares nothing with it.
            assert_eq!((next, &after[..HEADER_END]), (chain[i + 1].id, &honest[i + 1][..HEADER_END]));
            let same = after[HEADER_END..].iter().zip(&honest[i + 1][HEADER_END..]).filter(|(a, b)| a == b);
            assert!(same.count() < 40, "byte {at}");
            bad = after;
        }
        let opened = chain[2].open(&bad).unwrap();
        assert_eq!(opened.release().err(), Some(CryptoError::Rejected), "byte {at}");
    }
}

#[test]
fn a23_every_flipped_byte_of_a_packet_for_the_last_hop_is_dropped() {
    let mut random = SeededRandom::new(26);
    let chain = servers(1, &mut random);
    let (packet, _) = ask(OnionClass::Small, &chain, b"request", &mut random);
    for at in HEADER_END..packet.len() {
        let mut bad = packet.clone();
        bad[at] ^= 1 << (at % 8);
        let refused = Opened::open(bad, &chain[0].key).unwrap().release().err();
        assert_eq!(refused, Some(CryptoError::Rejected), "byte {at}");
    }
}

#[test]
fn a23_a_touched_answer_is_refused_by_the_sender() {
    let mut random = SeededRandom::new(27);
    let chain = servers(3, &mut random);
    for at in (HEADER_END..2048).step_by(131) {
        let (packet, pending) = ask(OnionClass::Small, &chain, b"request", &mut random);
        let block = walk(&chain, packet).1.reply.unwrap();
        let mut answer = block.answer(OnionClass::Small, b"answer").unwrap();
        answer[at] ^= 1;
        let (_, answer) = chain[1].forward(&answer);
        let (_, answer) = chain[0].reply(&answer);
        assert_eq!(pending.open(answer), Err(CryptoError::Rejected), "byte {at}");
    }
}

#[test]
fn a15_classes_are_not_exchanged() {
    // The header of a small packet before a large payload: the MAC covers the class.
    let mut random = SeededRandom::new(28);
    let chain = servers(1, &mut random);
    let mut packet = seal(OnionClass::Small, &steps(&chain), b"", &mut random).unwrap();
    packet.resize(OnionClass::Large.len(), 0);
    assert_eq!(chain[0].open(&packet).err(), Some(CryptoError::Rejected));
}

#[test]
fn a12_low_order_and_non_canonical_ephemeral_keys_are_dropped() {
    let mut random = SeededRandom::new(29);
    let chain = servers(1, &mut random);
    let packet = seal(OnionClass::Small, &steps(&chain), b"", &mut random).unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    let mut top = packet.clone();
    top[33] |= 0x80;
    assert_eq!(chain[0].open(&top).err(), Some(CryptoError::Rejected));
    for point in [[0; 32], one, [0xff; 32]] {
        let mut bad = packet.clone();
        bad[2..34].copy_from_slice(&point);
        assert_eq!(chain[0].open(&bad).err(), Some(CryptoError::Rejected));
    }
}
