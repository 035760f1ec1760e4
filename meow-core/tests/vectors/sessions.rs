//! Packets of a session: tags, sealed contents, items alone.

use hmac::{KeyInit, Mac};
use meow_core::crypto::{KeyLabel, Secret, derive};
use meow_core::request::THIN_ITEM_SIZES;
use meow_core::session::{Direction, SessionKeys};
use serde_json::json;

use crate::harness::{Section, hex};

const COUNTER: u64 = 0x0102_0304_0506_0708;

#[test]
fn sessions() {
    let mut section = Section::new(
        "sessions",
        "The keys of one session, in the order of the chapter Sessions, and packets of both directions and rows.",
    );
    let secret = Secret::new([0x44; 32]);
    let keys = SessionKeys::new(&secret);
    let derived: [u8; 7 * 32] = derive(KeyLabel::SessionKeys, &[], secret.expose(), &[]);
    let cut: Vec<_> = derived.chunks(32).map(hex).collect();
    section.case("keys", json!({ "secret": hex(secret.expose()), "keys": cut }));
    for (name, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        let tag = keys.tag(direction, COUNTER);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&derived[..32]).unwrap();
        mac.update(&[direction as u8]);
        mac.update(&COUNTER.to_be_bytes());
        assert_eq!(tag, mac.finalize().into_bytes()[..6]);
        section.case(
            &format!("{name} tag"),
            json!({ "direction": direction as u8, "counter": COUNTER.to_string(), "tag": hex(tag) }),
        );
        for size in [256, 60] {
            let packet = keys.seal(direction, COUNTER, b"content".to_vec(), size).unwrap();
            section.case(
                &format!("{name} sealed {size}"),
                json!({
                    "direction": direction as u8, "counter": COUNTER.to_string(), "content": hex(b"content"),
                    "packet": hex(packet),
                }),
            );
        }
        let item: Vec<u8> = (0..THIN_ITEM_SIZES[0] as u8).collect();
        let packet = keys.seal_item(direction, COUNTER, 5, &item).unwrap();
        section.case(
            &format!("{name} item"),
            json!({
                "direction": direction as u8, "counter": COUNTER.to_string(), "kind": 5, "item": hex(item),
                "packet": hex(packet),
            }),
        );
    }
    section.check();
}
