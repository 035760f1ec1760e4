//! Packets of a session: tags, sealed contents, items alone.

use hmac::{KeyInit, Mac};
use meow_core::crypto::{DhSecret, KeyLabel, Secret, SigningKey, XWingSecret, derive};
use meow_core::request::THIN_ITEM_SIZES;
use meow_core::request::{ClientShare, ServerShare};
use meow_core::session::{
    Direction, SessionBinding, SessionKeys, SessionKind, SessionRequest, SessionRole, ShareSecret,
    grant_session,
};
use meow_core::wire::{Blob, Fixed, Wire};
use serde_json::json;

use crate::harness::{Recorder, Section, hex};

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
    opening(&mut section);
    section.check();
}

/// Both forms of an opening, and each request inside.
fn opening(section: &mut Section) {
    let mailbox = SigningKey::from_seed(&[0x4c; 32]).public();
    let export = Secret::new([0x45; 32]);
    let (fat, thin) = (XWingSecret::from_seed(Secret::new([0x77; 32])), DhSecret::from_bytes(&[0x78; 32]));
    for (name, role, secret) in [
        ("opening, fat, by the owner", SessionRole::Owner, ShareSecret::Fat(fat)),
        ("opening, thin, by a depositor", SessionRole::Depositor, ShareSecret::Thin(thin)),
    ] {
        let binding = SessionBinding { export: &export, server: &[0x53; 32], role, mailbox: &mailbox };
        let mut random = Recorder::new(9);
        let (share, keys) = grant_session(&secret.share(), &binding, &mut random).unwrap();
        assert_eq!(secret.finish(&share, &binding).unwrap(), keys);
        let client = match secret.share() {
            ClientShare::Fat(public) => hex(public.as_bytes()),
            ClientShare::Thin(public) => hex(public.as_bytes()),
        };
        let server = match &share {
            ServerShare::Fat(ciphertext) => hex(ciphertext.0),
            ServerShare::Thin(public) => hex(public.as_bytes()),
        };
        section.case(
            name,
            json!({
                "export": hex(export.expose()), "server": hex([0x53; 32]), "role": role as u8,
                "mailbox": hex(mailbox.to_bytes()), "client share": client, "drawn": random.take(), "server share": server,
                "first tag": hex(keys.tag(Direction::Up, 0)),
            }),
        );
    }
    for (name, kind) in [
        ("Deposit", SessionKind::Deposit { keep_secs: 60, item: Blob::new(vec![0x69; 3]).unwrap() }),
        ("Look", SessionKind::Look { wait_secs: 50 }),
        ("Pull", SessionKind::Pull { counter: 300, acknowledge: 7, wait_secs: 50 }),
        ("Acknowledge", SessionKind::Acknowledge { counter: 301, upto: 9 }),
        ("BlobGet", SessionKind::BlobGet { name: Fixed([0x71; 16]) }),
    ] {
        let encoded = SessionRequest { answer: 5, kind }.to_wire().unwrap();
        section.case(&format!("request {name}"), json!({ "answer": 5, "encoded": hex(encoded) }));
    }
}
