//! What stands inside a ratchet message.

use meow_core::crypto::KemSecret;
use meow_core::direct::DirectOffer;
use meow_core::message::{Body, Confirm, Content, Prekeys, Receipt, Seen};
use meow_core::ratchet::{Numbers, THIN_OVERHEAD};
use meow_core::wire::{Blob, Fixed, List, Wire, unpad};

use crate::{Seed, Target, seed, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "message_body", run: body, seeds: body_seeds },
    Target { name: "thin_body", run: thin, seeds: thin_seeds },
];

/// Numbers of a thin message that does not say its own, and the last sequence of its reader.
const NUMBERS: Numbers = Numbers { seq: 5, epoch: 1 };
const SENT: u64 = 80_000;

/// A padded plaintext, as it comes out of the ratchet.
pub fn body(data: &[u8]) -> bool {
    let Ok(body) = Body::from_padded(data) else { return false };
    let bytes = body.to_wire().expect("what was decoded can be encoded");
    assert_eq!(bytes, unpad(data).expect("it was padded"), "one value, one encoding");
    let (parties, lane) = (world::parties(), world::signing(22).public());
    let signed = body.check_signature(&parties, &lane, true).is_ok();
    assert!(
        !signed || body.check_signature(&parties.turned(), &lane, true).is_err(),
        "bound to its direction"
    );
    Seen::default().then(&body.content).expect("a content has a digest");
    true
}

/// A thin plaintext; its first byte says whether the numbers are known without it.
pub fn thin(data: &[u8]) -> bool {
    let Some((known, plain)) = data.split_first() else { return false };
    let implied = known & 1 == 1;
    let Ok(body) = Body::from_thin(plain, implied.then_some(NUMBERS), SENT) else { return false };
    let again = body.to_thin(implied, plain.len()).expect("what was decoded can be encoded");
    assert_eq!(again, plain, "one value, one encoding");
    let (parties, lane) = (world::parties(), world::signing(22).public());
    let signed = body.check_signature(&parties, &lane, true).is_ok();
    assert!(
        !signed || body.check_signature(&parties.turned(), &lane, true).is_err(),
        "bound to its direction"
    );
    Seen::default().then(&body.content).expect("a content has a digest");
    true
}

fn contents() -> Vec<(&'static str, Content)> {
    let lane = world::signing(22);
    let kem = KemSecret::generate(&mut world::random(50)).expect("seeded").public();
    let parties = world::parties();
    let prekeys = Prekeys::sign(world::dh(51).public(), kem, &parties.from, &parties.to, &lane);
    let receipt = Receipt { decrypted: 4, read: 2, also: List::take([6, 300]) };
    let (sig, mac) = (Fixed([3; 64]), Fixed([4; 32]));
    let confirm = Confirm { sig, mac, prekeys, have: 1, next: 2, base: 0 };
    vec![
        ("text", Content::text(world::NOW * 1000, "miau, größer").expect("short")),
        ("empty", Content::Empty),
        ("data", Content::data(1, "application/json", b"{\"t\":21.5}".to_vec()).expect("short")),
        ("receipt", Content::Receipt(receipt)),
        ("confirm", Content::Confirm(Box::new(confirm))),
        ("lookup", Content::Lookup(Box::new(world::lookup(52)))),
        ("mode", Content::Mode { deniable: true }),
        ("direct", Content::Direct(DirectOffer { secret: Some(world::secret(53)) })),
        ("cover", Content::Cover),
        ("direct-withdrawn", Content::Direct(DirectOffer { secret: None })),
        ("unknown", Content::Unknown { kind: 999, body: Blob::new(vec![1, 2, 3]).expect("short") }),
    ]
}

fn plain(content: Content, signed: bool) -> Vec<u8> {
    let mut body = Body { seq: 5, epoch: 1, seen: 300, digest: Seen::default().short(), content, sig: None };
    if signed {
        body.sign(&world::parties(), &world::signing(22)).expect("signs");
    }
    body.to_padded(meow_core::ratchet::OVERHEAD).expect("fits")
}

/// Seeds of [`body`].
pub fn body_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, content) in contents() {
        seeds.push(seed(name, plain(content.clone(), true)));
        seeds.push(seed(&format!("{name}-deniable"), plain(content, false)));
    }
    let by_hand = |name: &str, kind: u8, body: &[u8]| {
        let len = u8::try_from(body.len()).expect("short");
        seed(name, [&[1, 0, 0, 0, 0, 0, 0, kind, len][..], body, &[0, 0x80, 0, 0]].concat())
    };
    seeds.push(by_hand("bad-empty-with-body", 0, &[0]));
    seeds.push(by_hand("bad-text", 1, &[1, 1, 0xff]));
    seeds.push(by_hand("bad-text-trailing", 1, &[1, 1, b'a', 0]));
    seeds.push(by_hand("bad-text-not-canonical", 1, &[0x81, 0, 1, b'a']));
    seeds.push(by_hand("bad-data-without-type", 2, &[1, 0, 1, 7]));
    seeds.push(by_hand("bad-receipt-count", 3, &[1, 1, 65]));
    seeds.push(by_hand("bad-confirm", 4, &[1]));
    seeds.push(by_hand("bad-lookup", 5, &[1]));
    seeds.push(by_hand("bad-mode", 6, &[2]));
    // a Confirm: signature, mac, then the prekeys, whose KEM key breaks its modulus
    let prekeys = [world::dh(51).public().as_bytes(), &[0xff; 1184][..], &[0; 64]].concat();
    let confirm = [&[3; 64 + 32][..], &prekeys, &[1, 2, 0]].concat();
    let len = [(confirm.len() & 0x7f) as u8 | 0x80, (confirm.len() >> 7) as u8];
    let head = [&[1, 0, 0, 0, 0, 0, 0, 4][..], &len].concat();
    seeds.push(seed("bad-kem-key", [&head[..], &confirm, &[0, 0x80]].concat()));
    seeds.push(seed("bad-padding", [0; 40]));
    seeds.push(seed("bad-empty", []));
    seeds
}

/// Seeds of [`thin`].
pub fn thin_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let timeless = [
        ("text-without-time", Content::text(0, "miau, größer").expect("short")),
        ("data-without-time", Content::data(0, "app/t", vec![21, 0]).expect("short")),
        ("long-text", Content::text(9, "m".repeat(180)).expect("short")),
    ];
    for (name, content) in contents().into_iter().chain(timeless) {
        for (suffix, implied, signed) in [
            ("", true, true),
            ("-deniable", true, false),
            ("-numbered", false, true),
            ("-both", false, false),
        ] {
            let digest = Seen::default().short();
            let content = content.clone();
            let Numbers { seq, epoch } = NUMBERS;
            let mut body = Body { seq, epoch, seen: 70_000, digest, content, sig: None };
            let Some(size) = body.fit_thin(implied, signed, THIN_OVERHEAD).expect("encodes") else {
                continue;
            };
            if signed {
                body.sign(&world::parties(), &world::signing(22)).expect("signs");
            }
            let plain = body.to_thin(implied, size - THIN_OVERHEAD).expect("fits");
            seeds.push(seed(&format!("{name}{suffix}"), [&[u8::from(implied)], plain.as_slice()].concat()));
        }
    }
    let implied = |name: &str, rest: &[u8]| seed(name, [&[1, 0, 7, 1, 2, 3, 4], rest].concat());
    seeds.push(implied("bad-marker", &[b'a', 0x8a, 0]));
    seeds.push(implied("bad-kind", &[b'a', 0x86, 0]));
    seeds.push(implied("bad-no-marker", &[b'a']));
    seeds.push(implied("bad-text", &[0xff, 0x82]));
    seeds.push(implied("bad-data", &[3, b'a', 0x84]));
    seeds.push(implied("bad-data-type", &[0, b'a', 0x84]));
    seeds.push(implied("bad-whole-without-time", &[1, 3, 0, 1, b'a', 0x80]));
    seeds.push(implied("bad-whole-trailing", &[0, 0, 0, 0x80]));
    seeds.push(implied("bad-whole", &[1, 1, 0x80]));
    seeds.push(implied("bad-signature", &[b'a', 0x83]));
    seeds.push(seed("bad-numbers", [0, 0x81, 0, 0, 0, 1, 2, 3, 4, b'a', 0x82]));
    seeds.push(seed("bad-numbers-cut", [0, 0x81, 0x82]));
    seeds.push(seed("bad-implied-cut", [1, 7, 0x82]));
    seeds.push(seed("bad-padding", [1; 1].into_iter().chain([0; 40]).collect::<Vec<u8>>()));
    seeds.push(seed("bad-empty", []));
    seeds
}
