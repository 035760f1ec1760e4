//! Contents of every kind, bodies with their signatures and padding, the digest of what was seen.

use meow_core::crypto::{DhSecret, HashLabel, KemSecret, Secret, SeededRandom, SigningKey, hash};
use meow_core::direct::DirectOffer;
use meow_core::lane::{LaneId, Lookup, Place, ServerRef};
use meow_core::message::{Body, Confirm, Content, Data, Parties, Prekeys, Receipt, Seen, item_size};
use meow_core::ratchet::{OVERHEAD, OVERHEAD_EKP};
use meow_core::wire::{Blob, Fixed, List, Wire};
use serde_json::json;

use crate::harness::{Section, frame, hex};

pub(crate) struct Keys {
    from: SigningKey,
    to: SigningKey,
    pub(crate) from_lane: SigningKey,
    to_lane: SigningKey,
}

impl Keys {
    pub(crate) fn parties(&self) -> Parties {
        Parties {
            from: self.from.public(),
            to: self.to.public(),
            from_lane: LaneId::of(&self.from_lane.public()),
            to_lane: LaneId::of(&self.to_lane.public()),
        }
    }
}

pub(crate) fn keys() -> Keys {
    let key = |byte| SigningKey::from_seed(&[byte; 32]);
    Keys { from: key(1), to: key(2), from_lane: key(3), to_lane: key(4) }
}

fn prekeys(keys: &Keys) -> Prekeys {
    let mut random = SeededRandom::new(40);
    let (prekey, kem) = (DhSecret::generate(&mut random).unwrap(), KemSecret::generate(&mut random).unwrap());
    let (from, to) = (keys.from.public(), keys.to.public());
    Prekeys::sign(prekey.public(), kem.public(), &from, &to, &keys.from_lane)
}

pub(crate) fn contents(keys: &Keys) -> Vec<(&'static str, Content)> {
    let server = ServerRef::new([0x5e; 32], &["https://relay.example/meow".parse().unwrap()]).unwrap();
    let confirm = Confirm {
        sig: Fixed([0x51; 64]),
        mac: Fixed([0x52; 32]),
        prekeys: prekeys(keys),
        have: 7,
        next: 9,
        base: 8,
    };
    let place = |n: u8, server| Place {
        server,
        lkp: SigningKey::from_seed(&[n; 32]).public(),
        token: Fixed([0x6b + n; 16]),
    };
    let other = ServerRef::new([0x5f; 32], &["udp://192.0.2.7:41325".parse().unwrap()]).unwrap();
    let lookup = Lookup::new(Secret::new([0x71; 32]), vec![place(5, server), place(6, other)]).unwrap();
    let also = List::new(vec![300, 302]).unwrap();
    vec![
        ("Empty", Content::Empty),
        ("Text", Content::text(1_700_000_000_123, "miaou \u{1f408}").unwrap()),
        ("Data", Content::data(1_700_000_000_456, "application/x-reading", vec![0, 1, 2, 255]).unwrap()),
        ("Receipt", Content::Receipt(Receipt { decrypted: 298, read: 128, also })),
        ("Confirm", Content::Confirm(Box::new(confirm))),
        ("Lookup", Content::Lookup(Box::new(lookup))),
        ("Mode", Content::Mode { deniable: true }),
        ("Direct", Content::Direct(DirectOffer { secret: Some(Secret::new([0x44; 32])) })),
        ("Direct, withdrawn", Content::Direct(DirectOffer { secret: None })),
        ("Cover", Content::Cover),
        ("unknown kind", Content::Unknown { kind: 4711, body: Blob::new(vec![9, 8, 7]).unwrap() }),
    ]
}

#[test]
fn messages() {
    let mut section = Section::new(
        "messages",
        "Contents of every kind in bodies, signed and not; plaintexts are padded for a ratchet header of 22 \
         (`short`) and 58 bytes (`long`). `seen` goes through the contents in order.",
    );
    let keys = keys();
    let parties = keys.parties();
    section.case(
        "parties",
        json!({
            "ckp from seed": hex(*keys.from.seed()), "ckp to seed": hex(*keys.to.seed()),
            "lane from seed": hex(*keys.from_lane.seed()), "lane to seed": hex(*keys.to_lane.seed()),
            "lane from": hex(parties.from_lane.as_bytes()), "lane to": hex(parties.to_lane.as_bytes()),
            "AD": hex(parties.associated_data()),
        }),
    );
    let mut seen = Seen::default();
    let mut digest = [0u8; 32];
    for (seq, (name, content)) in (1u64..).zip(contents(&keys)) {
        let encoded = postcard::to_stdvec(&content).unwrap();
        let mut body = Body {
            seq,
            epoch: 2,
            seen: seen.upto,
            digest: seen.short(),
            content: content.clone(),
            sig: None,
        };
        let unsigned = body.to_wire().unwrap();
        body.sign(&parties, &keys.from_lane).unwrap();
        let signed = body.to_wire().unwrap();
        assert_eq!(Body::from_wire(&signed).unwrap(), body);
        body.check_signature(&parties, &keys.from_lane.public(), true).unwrap();
        assert!(body.check_signature(&parties.turned(), &keys.from_lane.public(), true).is_err());
        let parts: [&[u8]; 9] = [
            parties.from.as_bytes(),
            parties.to.as_bytes(),
            parties.from_lane.as_bytes(),
            parties.to_lane.as_bytes(),
            &seq.to_be_bytes(),
            &2u32.to_be_bytes(),
            &body.seen.to_be_bytes(),
            &body.digest.0,
            &encoded,
        ];
        for (overhead, len) in [(OVERHEAD, signed.len()), (OVERHEAD_EKP, signed.len())] {
            let padded = body.to_padded(overhead).unwrap();
            assert_eq!(Some(padded.len() + overhead), item_size(len + 1 + overhead));
        }
        seen = seen.then(&content).unwrap();
        // The time at which it was written does not enter the digest.
        let timeless = match content.clone() {
            Content::Text { text, .. } => Content::Text { sent: 0, text },
            Content::Data(data) => Content::Data(Data { sent: 0, ..data }),
            // Enters as Empty.
            Content::Cover => Content::Empty,
            other => other,
        };
        let item = postcard::to_stdvec(&timeless).unwrap();
        digest = hash(HashLabel::Seen, &[&digest, &hash(HashLabel::Item, &[&item])]);
        assert_eq!(seen.short().0, digest[..4]);
        section.case(
            name,
            json!({
                "kind": content.kind(), "content": hex(&encoded), "seq": seq, "epoch": 2, "seen": body.seen,
                "digest": hex(body.digest), "unsigned body": hex(unsigned),
                "statement": hex(frame("meow sign message", &parts)), "signed body": hex(signed),
                "item size, short": body.to_padded(OVERHEAD).unwrap().len() + OVERHEAD,
                "item size, long": body.to_padded(OVERHEAD_EKP).unwrap().len() + OVERHEAD_EKP,
                "D after it": hex(digest),
            }),
        );
    }
    refused(&mut section);
    section.check();
}

fn refused(section: &mut Section) {
    // seq, epoch, seen, digest, then a content and no signature.
    let body = |content: &[u8]| [&[1, 0, 0, 0, 0, 0, 0][..], content, &[0]].concat();
    assert!(Body::from_wire(&body(&[0, 0])).is_ok());
    let cases: [(&str, Vec<u8>); 7] = [
        ("Empty that holds something", body(&[0, 1, 0])),
        ("Cover that holds something", body(&[8, 1, 0])),
        ("Text with a byte after it", body(&[1, 4, 5, 1, b'a', 0])),
        ("Text that is not UTF-8", body(&[1, 3, 5, 1, 0xff])),
        ("Mode that is neither", body(&[6, 1, 2])),
        ("sequence with a longer encoding", [&[0x81, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0][..]].concat()),
        ("a byte follows", [&body(&[0, 0])[..], &[0]].concat()),
    ];
    for (name, bytes) in cases {
        assert!(Body::from_wire(&bytes).is_err(), "{name}");
        section.case(&format!("refused: {name}"), json!({ "bytes": hex(bytes) }));
    }
}
