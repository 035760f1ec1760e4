//! docs/vectors/mqtt.json, made again and compared; `MEOW_WRITE_VECTORS=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use meow_core::crypto::{CryptoError, DhSecret, Random, SeededRandom, SigningKey};
use meow_core::request::fingerprint;
use meow_transport_mqtt::wire::{
    Announcement, Caller, Hello, Item, Items, Prefix, Reference, TopicId, open_record, seal_record,
};
use serde_json::{Value, json};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Randomness that tells what was drawn, in order.
struct Recorder(SeededRandom, Vec<String>);

impl Random for Recorder {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        self.0.fill(buffer)?;
        self.1.push(hex(&*buffer));
        Ok(())
    }
}

fn cases() -> Vec<Value> {
    let mut random = Recorder(SeededRandom::new(43), vec![]);
    let skp = SigningKey::from_seed(&[1; 32]);
    let reference = Reference::new(fingerprint(&skp.public()));
    let announced = DhSecret::from_bytes(&[2; 32]);
    let inbox = TopicId([3; 16]);
    let announcement = Announcement { key: announced.public(), inbox };
    let sealed = announcement.seal(&reference, &skp, &mut random).unwrap();
    assert_eq!(Announcement::open(&reference, &sealed).unwrap(), announcement);
    let prefix = Prefix::of(&"mqtt://broker/cats".parse().unwrap()).unwrap();
    let mut cases = vec![json!({
        "case": "announcement",
        "skp_seed": hex([1; 32]),
        "fingerprint": hex(reference.fingerprint()),
        "announced_secret": hex([2; 32]),
        "announced_key": hex(announced.public().as_bytes()),
        "inbox": hex(inbox.0),
        "inbox_topic": prefix.topic(inbox),
        "announcement_topic": prefix.announcement(inbox),
        "drawn": std::mem::take(&mut random.1),
        "sealed": hex(&sealed),
    })];

    let caller = Caller::new(&mut random).unwrap();
    let (bytes, hello) = caller.hello(&reference, &announcement, &mut random).unwrap();
    cases.push(json!({
        "case": "hello",
        "drawn": std::mem::take(&mut random.1),
        "reply": hex(caller.reply.0),
        "sealed": hex(&bytes),
    }));
    let up = TopicId([4; 16]);
    let answered = Hello::answer(&reference, &announced, up, &bytes, &mut random).unwrap();
    let (topic, to_server, to_client) = caller.answered(&reference, &hello, &answered.answer).unwrap();
    assert_eq!(topic, up);
    for (one, other) in [(&to_server, &answered.up), (&to_client, &answered.down)] {
        assert_eq!(seal_record(one, 0, b"").unwrap(), seal_record(other, 0, b"").unwrap());
    }
    cases.push(json!({
        "case": "answer",
        "drawn": std::mem::take(&mut random.1),
        "up": hex(up.0),
        "sealed": hex(&answered.answer),
    }));

    let items = [
        Item::Received(7),
        Item::Open(0),
        Item::Data(0, b"meow"),
        Item::Finish(0),
        Item::Credit(1, 32_768),
        Item::Break(2),
        Item::Stop(3),
        Item::Move(TopicId([5; 16])),
        Item::Ping,
        Item::Pong,
        Item::Leave,
        Item::Close,
    ];
    let mut text = Vec::new();
    items.iter().for_each(|item| item.write(&mut text));
    for (name, keys, number) in [("record up", &answered.up, 0), ("record down", &answered.down, 258)] {
        let record = seal_record(keys, number, &text).unwrap();
        let (back, opened) = open_record(keys, &record).unwrap();
        assert_eq!(
            (back, Items::new(&opened).collect::<Result<Vec<_>, _>>().unwrap()),
            (number, items.to_vec())
        );
        cases.push(json!({ "case": name, "number": number, "items": hex(&text), "sealed": hex(&record) }));
    }
    for (name, bad) in [
        ("refused: padding that is not zero", &[0u8, 0, 1][..]),
        ("refused: an empty frame", &[2, 0, 0, 0, 0, 0, 0]),
        ("refused: a frame that ends early", &[2, 0, 0, 0, 0, 0, 2, 1]),
        ("refused: an unknown item", &[13]),
        ("refused: an item that ends early", &[7, 0, 0]),
    ] {
        assert!(Items::new(bad).any(|item| item.is_err()), "{name}");
        cases.push(json!({ "case": name, "items": hex(bad) }));
    }
    cases
}

#[test]
fn vectors_stay_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors/mqtt.json");
    let about = "Announcement, hello and answer of the mqtt binding, and records of the channel that they open; `drawn` is what was drawn at random, in order.";
    let whole = json!({ "version": meow_core::wire::VERSION, "about": about, "cases": cases() });
    if std::env::var("MEOW_WRITE_VECTORS").is_ok_and(|value| value == "1") {
        fs::write(&path, serde_json::to_string_pretty(&whole).unwrap() + "\n").unwrap();
        return;
    }
    let stored: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        stored, whole,
        "the bytes have changed: write the vectors anew with MEOW_WRITE_VECTORS=1 and say so in CHANGELOG.md"
    );
}
