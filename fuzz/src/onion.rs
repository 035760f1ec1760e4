//! Onion packets as they come to a hop, and answers as they come back to a sender.

use meow_core::crypto::{DhPublic, KeyLabel, WideKey, derive_keys};
use meow_core::onion::{
    Delay, HEADER, HopId, HopKey, OnionClass, Opened, Outcome, PREFIX, PendingReply, Step, seal,
    seal_with_reply,
};
use meow_core::wire::pad;

use crate::{Seed, Target, seed, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "onion", run: onion, seeds: onion_seeds },
    Target { name: "onion_content", run: onion_content, seeds: onion_content_seeds },
];

const PAYLOAD: usize = PREFIX + HEADER;

fn key() -> HopKey {
    HopKey::new(7, world::sealing())
}

fn route(hops: usize) -> Vec<Step> {
    let step = Step { id: HopId([1; 16]), number: 7, key: *key().public(), delay: Delay::NONE };
    vec![step; hops]
}

/// A packet as it comes to a hop. All hops are this one: it is peeled until it is delivered, and its reply block used.
/// What a hop makes of a packet has its length, and no packet goes further than five hops.
pub fn onion(data: &[u8]) -> bool {
    let mut packet = data.to_vec();
    for _ in 0..5 {
        let Ok(opened) = Opened::open(packet.clone(), &key()) else { return false };
        let class = opened.class();
        assert_eq!(packet.len(), class.len());
        match opened.release() {
            Ok(Outcome::Forward { packet: next, .. } | Outcome::Reply { packet: next, .. }) => {
                assert_eq!(next.len(), class.len());
                packet = next;
            }
            Ok(Outcome::Deliver(delivery)) => {
                assert!(delivery.request.len() <= class.request_room(false));
                if let Some(block) = delivery.reply {
                    assert_eq!(block.answer(class, b"answer").expect("fits").len(), class.len());
                }
                return true;
            }
            Ok(_) => unreachable!("no other outcome"),
            Err(_) => return false,
        }
    }
    unreachable!("a packet has five hops at most")
}

fn asked(hops: usize, request: &[u8]) -> (Vec<u8>, PendingReply) {
    let random = &mut world::random(60 + hops as u64);
    seal_with_reply(OnionClass::Small, &route(hops), &route(hops), request, random).expect("seals")
}

/// Seeds of [`onion`].
pub fn onion_seeds() -> Vec<Seed> {
    let mut seeds: Vec<_> =
        (1..=5).map(|hops| seed(&format!("{hops}-hops"), asked(hops, b"request").0)).collect();
    let one_way = seal(OnionClass::Small, &route(2), b"", &mut world::random(66)).expect("seals");
    let whole = seeds[0].1.clone();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    seeds.push(seed("one-way", one_way.clone()));
    seeds.push(seed("bad-suite", changed(0)));
    seeds.push(seed("bad-hint", changed(1)));
    seeds.push(seed("bad-key", changed(2)));
    seeds.push(seed("bad-mac", changed(34)));
    seeds.push(seed("bad-slot", changed(50)));
    seeds.push(seed("bad-payload", changed(1000)));
    seeds.push(seed("bad-length", &one_way[..2047]));
    seeds.push(seed("bad-empty", []));
    seeds
}

/// What stands behind the seal of a packet that a sender made by the book: any content at all. And the same bytes as an
/// answer to a request that went out.
pub fn onion_content(data: &[u8]) -> bool {
    let (packet, pending) = asked(2, b"request");
    let answer = [&packet[..PAYLOAD], data].concat();
    assert!(pending.open(answer).is_err(), "nobody answers without the reply block");
    if data.len() <= OnionClass::Small.answer_room() {
        assert_eq!(there_and_back(data), data, "an answer comes back as it was given");
    }

    let mut packet = seal(OnionClass::Small, &route(1), b"", &mut world::random(67)).expect("seals");
    let mut payload = [&[0; 16], data].concat();
    if pad(&mut payload, packet.len() - PAYLOAD).is_err() {
        return false;
    }
    layer(&packet).encrypt(&mut payload).expect("long enough");
    packet.splice(PAYLOAD.., payload);
    let opened = Opened::open(packet, &key()).expect("its header is untouched");
    let class = opened.class();
    let Ok(Outcome::Deliver(delivery)) = opened.release() else { return false };
    assert!(data.ends_with(&delivery.request));
    let block = data.len() - delivery.request.len() - 1;
    assert_eq!(block, if delivery.reply.is_some() { 437 } else { 0 });
    if let Some(block) = delivery.reply {
        assert_eq!(block.answer(class, b"answer").expect("fits").len(), class.len());
    }
    true
}

/// What a sender gets who asks something and is answered this.
fn there_and_back(answer: &[u8]) -> Vec<u8> {
    let (mut packet, pending) = asked(2, b"request");
    loop {
        packet = match Opened::open(packet, &key()).and_then(Opened::release).expect("made by the book") {
            Outcome::Forward { packet, .. } => packet,
            Outcome::Deliver(delivery) => {
                let block = delivery.reply.expect("an answer is asked for");
                block.answer(OnionClass::Small, answer).expect("it fits")
            }
            Outcome::Reply { packet, .. } => return pending.open(packet).expect("its own answer"),
            _ => unreachable!("no other outcome"),
        };
    }
}

/// The layer of a packet's first hop, by the spec.
fn layer(packet: &[u8]) -> WideKey {
    let ephemeral = DhPublic::from_bytes(packet[2..34].try_into().expect("32 bytes")).expect("a key");
    let agreed = world::sealing().agree(&ephemeral).expect("contributory");
    let key = key();
    let context: [&[u8]; 2] = [ephemeral.as_bytes(), key.public().as_bytes()];
    let [_, _, payload, _] = derive_keys(KeyLabel::Onion, &[], agreed.expose(), &context);
    WideKey::expand(&payload)
}

/// Seeds of [`onion_content`].
pub fn onion_content_seeds() -> Vec<Seed> {
    let block = [1; 438];
    vec![
        seed("request", &b"\0request"[..]),
        seed("nothing-asked", [0]),
        seed("block", [&block[..], b"request"].concat()),
        seed("block-alone", block),
        seed("full", [&[0][..], &[1; 1640]].concat()),
        seed("bad-block-short", &block[..437]),
        seed("bad-kind", [2, 1, 1]),
        seed("bad-too-long", [&[0][..], &[1; 1641]].concat()),
        seed("bad-empty", []),
    ]
}
