//! What lies on an MQTT broker: announcements, hellos and answers, records.

use meow_core::crypto::{DhSecret, Secret, SeededRandom, SigningKey, seal_siv};
use meow_core::request::fingerprint;
use meow_transport_mqtt::wire::{
    ANNOUNCEMENT, Announcement, CLASSES, Caller, Direction, HELLO, Hello, Item, Items, Reference, TopicId,
    open_record, seal_record,
};

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "mqtt_announcement", run: announcement, seeds: announcement_seeds },
    Target { name: "mqtt_hello", run: hello, seeds: hello_seeds },
    Target { name: "mqtt_record", run: record, seeds: record_seeds },
    Target { name: "mqtt_items", run: items, seeds: items_seeds },
];

fn skp() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn reference() -> Reference {
    Reference::new(fingerprint(&skp().public()))
}

fn announced() -> DhSecret {
    DhSecret::from_bytes(&[2; 32])
}

fn announce(skp: &SigningKey) -> Vec<u8> {
    let announcement = Announcement { key: announced().public(), inbox: TopicId([3; 16]) };
    announcement.seal(&reference(), skp, &mut SeededRandom::new(1)).expect("it seals")
}

/// Nonce and sealed body.
pub fn announcement(data: &[u8]) -> bool {
    let opened = Announcement::open(&reference(), data);
    assert!(opened.is_err() || data.len() == ANNOUNCEMENT);
    opened.is_ok()
}

/// Seeds of [`announcement`].
pub fn announcement_seeds() -> Vec<Seed> {
    let good = announce(&skp());
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    vec![
        seed("good", good.clone()),
        seed("bad-signer", announce(&SigningKey::from_seed(&[9; 32]))),
        seed("bad-flipped", flipped),
        seed("bad-short", &good[1..]),
        seed("bad-empty", []),
    ]
}

fn client() -> (Caller, Vec<u8>, Hello) {
    let announcement = Announcement { key: announced().public(), inbox: TopicId([3; 16]) };
    let mut random = SeededRandom::new(2);
    let caller = Caller::new(&mut random).expect("it draws");
    let (bytes, hello) = caller.hello(&reference(), &announcement, &mut random).expect("it seals");
    (caller, bytes, hello)
}

fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let answered =
        Hello::answer(&reference(), &announced(), TopicId([4; 16]), bytes, &mut SeededRandom::new(3)).ok()?;
    Some(answered.answer)
}

/// A byte that says which it is, then a hello or an answer.
pub fn hello(data: &[u8]) -> bool {
    let Some((which, bytes)) = data.split_first() else { return false };
    let (caller, _, hello) = client();
    let taken = if which & 1 == 0 {
        let known = Hello::caller(&reference(), bytes).is_ok();
        let answered = answer(bytes);
        assert!(known || answered.is_none(), "what is answered is known");
        answered.is_some()
    } else {
        caller.answered(&reference(), &hello, bytes).is_ok()
    };
    assert!(!taken || bytes.len() == HELLO);
    taken
}

/// Seeds of [`hello`].
pub fn hello_seeds() -> Vec<Seed> {
    let (_, bytes, _) = client();
    let with = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    let answer = answer(&bytes).expect("a hello is answered");
    let mut flipped = bytes.clone();
    flipped[60] ^= 1;
    vec![
        seed("hello", with(0, &bytes)),
        seed("answer", with(1, &answer)),
        seed("bad-hello-flipped", with(0, &flipped)),
        seed("bad-hello-short", with(0, &bytes[1..])),
        seed("bad-answer-is-hello", with(1, &bytes)),
        seed("bad-empty", []),
    ]
}

fn keys() -> Direction {
    Direction::new(&Secret::new([5; 32]), Secret::new([6; 32])).expect("keys")
}

/// A record of one direction.
pub fn record(data: &[u8]) -> bool {
    let Ok((number, opened)) = open_record(&keys(), data) else { return false };
    assert!(CLASSES.contains(&data.len()));
    assert_eq!(seal_record(&keys(), number, &opened).expect("it fitted"), data, "one record, one sealing");
    true
}

/// Seeds of [`record`].
pub fn record_seeds() -> Vec<Seed> {
    let sealed = |number: u64, items: &[u8]| seal_record(&keys(), number, items).expect("it fits");
    let good = sealed(7, &[9, 10]);
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    // Right in all but its length.
    let odd = seal_siv(&Secret::new([5; 32]), &[0; 12], &[0; 8], &[0; 40]).expect("it seals");
    vec![
        seed("empty", sealed(0, &[])),
        seed("pings", good.clone()),
        seed("next-class", sealed(u64::MAX, &[9; 300])),
        seed("bad-flipped-number", flipped),
        seed("bad-length", [&[0; 8], &odd[..]].concat()),
        seed("bad-empty", []),
    ]
}

/// The opened part of a record.
pub fn items(data: &[u8]) -> bool {
    let mut out = Vec::new();
    for item in Items::new(data) {
        match item {
            Ok(item) => item.write(&mut out),
            Err(_) => return false,
        }
    }
    let (said, padding) = data.split_at(out.len());
    assert_eq!(said, out, "one item, one encoding");
    assert!(padding.iter().all(|byte| *byte == 0));
    true
}

/// Seeds of [`items`].
pub fn items_seeds() -> Vec<Seed> {
    let all = [
        Item::Received(7),
        Item::Open(0),
        Item::Data(0, b"meow"),
        Item::Finish(0),
        Item::Break(1),
        Item::Stop(2),
        Item::Credit(3, 32_768),
        Item::Move(TopicId([8; 16])),
        Item::Ping,
        Item::Pong,
        Item::Leave,
        Item::Close,
    ];
    let mut out = Vec::new();
    all.iter().for_each(|item| item.write(&mut out));
    vec![
        seed("all", out.clone()),
        seed("padded", [&out[..], &[0; 30]].concat()),
        seed("none", []),
        seed("bad-padding", [&out[..], &[0, 0, 1]].concat()),
        seed("bad-unknown", vec![13]),
        seed("bad-empty-frame", vec![2, 0, 0, 0, 0, 0, 0]),
        seed("bad-short-frame", vec![2, 0, 0, 0, 0, 0, 9, 1]),
        seed("bad-short-number", vec![7, 0, 0]),
    ]
}
