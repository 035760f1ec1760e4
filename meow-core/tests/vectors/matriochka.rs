//! The wide block, the keys of a hop, and a request's way through three hops and back.

use meow_core::crypto::{DhPublic, DhSecret, KeyLabel, Secret, WideKey, derive, key_stream, short_mac};
use meow_core::onion::{Delay, HopId, HopKey, OnionClass, Opened, Outcome, Step, seal, seal_with_reply};
use serde_json::{Value, json};

use crate::harness::{Recorder, Section, frame, hex};
use crate::onion_by_spec::{self, Drawn, Hop};

struct Server {
    id: HopId,
    number: u32,
    key: HopKey,
    secret: [u8; 32],
}

fn server(n: u8) -> Server {
    let (secret, number) = ([n; 32], 0x0200 + u32::from(n));
    Server {
        id: HopId([0x10 * n; 16]),
        number,
        key: HopKey::new(number, DhSecret::from_bytes(&secret)),
        secret,
    }
}

fn step(server: &Server, delay: u64) -> Step {
    let delay = Delay::from_duration(std::time::Duration::from_millis(delay * 10));
    Step { id: server.id, number: server.number, key: *server.key.public(), delay }
}

fn route(servers: &[&Server], delays: &[u64]) -> Value {
    let hop = |(server, delay): (&&Server, &u64)| {
        json!({
            "id": hex(server.id.0), "key number": server.number, "key": hex(server.key.public().as_bytes()),
            "secret": hex(server.secret), "delay": delay,
        })
    };
    servers.iter().zip(delays).map(hop).collect()
}

fn steps(servers: &[&Server], delays: &[u64]) -> Vec<Step> {
    servers.iter().zip(delays).map(|(server, delay)| step(server, *delay)).collect()
}

/// One hop: what it learns, and the packet that leaves it.
fn peel(server: &Server, packet: &[u8]) -> (Value, Outcome) {
    let opened = Opened::open(packet.to_vec(), &server.key).unwrap();
    let told = json!({
        "packet": hex(packet), "tag": hex(opened.tag().as_bytes()), "hold": opened.hold().is_some(),
        "delay": opened.delay().duration().as_millis() as u64 / 10,
    });
    (told, opened.release().unwrap())
}

#[test]
fn matriochka() {
    let mut section = Section::new(
        "matriochka",
        "Wide blocks, and packets on their way. `drawn` lists what was drawn, in order: the ephemeral secrets of the \
         way there, the 340 bytes of noise, then the same for the way back, then the key of the answer. Delays are in \
         hundredths of a second.",
    );
    wide(&mut section);
    let (a, b, c) = (server(1), server(2), server(3));
    let mut random = Recorder::new(70);

    let one = seal(OnionClass::Small, &steps(&[&a], &[0]), b"to one", &mut random).unwrap();
    let (told, outcome) = peel(&a, &one);
    let Outcome::Deliver(found) = outcome else { panic!() };
    assert!(found.reply.is_none());
    let drawn = random.take();
    assert_eq!(made_by_hand((&[&a], &[0]), (&[], &[]), b"to one", &drawn), one);
    section.case(
        "one hop, no answer",
        json!({ "drawn": drawn, "there": route(&[&a], &[0]), "request": hex(b"to one"), "hop": told }),
    );

    let (there, delays) = ([&a, &b, &c], [0, 150, 0x1234]);
    let (back, delays_back) = ([&b, &a], [7, 0]);
    let (packet, pending) = seal_with_reply(
        OnionClass::Small,
        &steps(&there, &delays),
        &steps(&back, &delays_back),
        b"a sealed request",
        &mut random,
    )
    .unwrap();
    let drawn = random.take();
    assert_eq!(made_by_hand((&there, &delays), (&back, &delays_back), b"a sealed request", &drawn), packet);
    let (at_a, outcome) = peel(&a, &packet);
    let Outcome::Forward { next, packet: second } = outcome else { panic!() };
    assert_eq!(next, b.id);
    by_hand(&a, &packet, &second, &b);
    let held = Opened::open(packet.clone(), &a.key).unwrap().hold();
    let (at_b, outcome) = peel(&b, &second);
    let Outcome::Forward { packet: third, .. } = outcome else { panic!() };
    let (at_c, outcome) = peel(&c, &third);
    let Outcome::Deliver(found) = outcome else { panic!() };
    assert_eq!(found.request, b"a sealed request");
    let answer = found.reply.unwrap().answer(OnionClass::Small, b"a sealed answer").unwrap();
    let (back_b, outcome) = peel(&b, &answer);
    let Outcome::Forward { packet: returning, .. } = outcome else { panic!() };
    let (back_a, outcome) = peel(&a, &returning);
    let Outcome::Reply { slot, packet: handed } = outcome else { panic!() };
    assert_eq!(Some(slot), held);
    section.case(
        "three hops and back",
        json!({
            "drawn": drawn, "there": route(&there, &delays), "back": route(&back, &delays_back),
            "request": hex(b"a sealed request"), "hops": [at_a, at_b, at_c], "answer": hex(b"a sealed answer"),
            "hops back": [back_b, back_a], "handed to the sender": hex(&handed),
        }),
    );
    assert_eq!(pending.open(handed).unwrap(), b"a sealed answer");

    let large = seal(OnionClass::Large, &steps(&[&a, &b], &[1, 2]), &[0x5a; 33_384], &mut random).unwrap();
    let (told, outcome) = peel(&a, &large);
    let Outcome::Forward { packet: second, .. } = outcome else { panic!() };
    section.case(
        "two hops, the large class, full",
        json!({
            "drawn": random.take(), "there": route(&[&a, &b], &[1, 2]), "request": "5a, 33384 times",
            "header": hex(&large[..390]), "tag": told["tag"], "next header": hex(&second[..390]),
            "sha-256 of the packet": sha256(&large), "sha-256 of the next": sha256(&second),
        }),
    );

    let mut refused = |name: &str, at: usize, xor: u8| {
        let mut bad = one.clone();
        bad[at] ^= xor;
        assert!(Opened::open(bad, &a.key).and_then(Opened::release).is_err(), "{name}");
        let case = json!({ "like": "one hop, no answer", "byte": at, "xor": xor });
        section.case(&format!("refused: {name}"), case);
    };
    refused("suite", 0, 1);
    refused("version", 0, 0x10);
    refused("key hint", 1, 1);
    refused("ephemeral key, top bit", 33, 0x80);
    refused("MAC", 34, 1);
    refused("last byte of the slots", 389, 1);
    refused("first byte of the payload", 390, 1);
    refused("last byte of the payload", 2047, 1);
    section.check();
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(sha2::Sha256::digest(bytes))
}

fn wide(section: &mut Section) {
    let block: Vec<u8> = (0..=255).cycle().take(1658).collect();
    let mut round_keys = [0; 192];
    key_stream(&Secret::new([0x42; 32]), &mut round_keys);
    let mut sealed = block.clone();
    WideKey::expand(&Secret::new([0x42; 32])).encrypt(&mut sealed).unwrap();
    section.case(
        "wide block",
        json!({
            "key": hex([0x42; 32]), "round keys": hex(round_keys), "block": "00 to ff, over and over, 1658 bytes",
            "encrypted": hex(sealed),
        }),
    );
    let mut short = [0x07; 33];
    WideKey::expand(&Secret::new([0x42; 32])).encrypt(&mut short).unwrap();
    section.case(
        "shortest wide block",
        json!({ "key": hex([0x42; 32]), "block": hex([0x07; 33]), "encrypted": hex(short) }),
    );
}

fn made_by_hand(
    (there, delays): (&[&Server], &[u64]),
    (back, delays_back): (&[&Server], &[u64]),
    request: &[u8],
    drawn: &[String],
) -> Vec<u8> {
    let hop = |(server, delay): (&&Server, &u64)| Hop {
        id: server.id.0,
        hint: server.number.to_le_bytes()[0],
        key: *server.key.public(),
        delay: u16::try_from(*delay).unwrap(),
    };
    let way = |servers: &[&Server], delays: &[u64]| servers.iter().zip(delays).map(hop).collect::<Vec<_>>();
    onion_by_spec::packet(&way(there, delays), &way(back, delays_back), request, &mut Drawn::of(drawn))
}

/// The first hop, from the spec with nothing but primitives.
fn by_hand(hop: &Server, packet: &[u8], next: &[u8], to: &Server) {
    assert_eq!((packet.len(), packet[0], packet[1]), (2048, 0x07, 0x01));
    let ephemeral = DhPublic::from_bytes(packet[2..34].try_into().unwrap()).unwrap();
    let agreed = DhSecret::from_bytes(&hop.secret).agree(&ephemeral).unwrap();
    let context: [&[u8]; 2] = [ephemeral.as_bytes(), hop.key.public().as_bytes()];
    let keys: [u8; 128] = derive(KeyLabel::Onion, &[], agreed.expose(), &context);
    let mut expanded = [0; 128];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(&[]), agreed.expose())
        .expand(&frame("meow onion", &context), &mut expanded)
        .unwrap();
    assert_eq!(keys, expanded);
    let key = |at: usize| Secret::new(keys[at..at + 32].try_into().unwrap());
    let mac = short_mac(&key(32), &[&[0x07, 0x00, 0x01], &packet[2..34], &packet[50..390]]);
    assert_eq!(packet[34..50], mac);
    let mut slots = [&packet[50..390], &[0; 68]].concat();
    key_stream(&key(0), &mut slots);
    assert_eq!(slots[..16], to.id.0);
    assert_eq!(slots[64..68], [1, 0x02, 0, 0], "forward and hold, key hint, no delay");
    let header = [&[0x07, slots[65]], &slots[16..48], &slots[48..64], &slots[68..]].concat();
    assert_eq!(header, next[..390]);
    let mut payload = packet[390..].to_vec();
    WideKey::expand(&key(64)).decrypt(&mut payload).unwrap();
    assert_eq!(payload, next[390..]);
}
