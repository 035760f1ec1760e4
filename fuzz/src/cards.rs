//! Cards, in all their forms, and the KEM key that waits for who takes one by URI.

use meow_core::card::{CARD_GRACE, CARD_SCHEME, Card, CardFile};
use meow_core::crypto::KemSecret;
use meow_core::lane::{LaneList, VerifiedLaneList};
use meow_core::wire::{List, Suite, Wire};

use crate::{Seed, Target, seed, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "card", run: card, seeds: card_seeds },
    Target { name: "card_kem_blob", run: kem_blob, seeds: kem_blob_seeds },
];

/// A card as a file or a URI.
pub fn card(data: &[u8]) -> bool {
    let Ok(file) = CardFile::parse(data) else { return false };
    let bytes = file.to_bytes().expect("what was decoded can be encoded");
    assert_eq!(CardFile::parse(&bytes).expect("the file form parses back"), file);
    if data.first() == Some(&Suite::Card.byte()) {
        assert_eq!(bytes, data, "one card, one file");
    }
    let uri = file.to_uri().expect("has a URI");
    let by_uri = CardFile::parse(uri.as_bytes()).expect("the URI parses back");
    assert_eq!((by_uri.card(), by_uri.kem()), (file.card(), None));
    let _ = (file.card().check_time(world::NOW), file.card().hash().expect("has a hash"));
    true
}

/// Seeds of [`card`].
pub fn card_seeds() -> Vec<Seed> {
    let (file, secrets) = world::card();
    let bytes = file.to_bytes().expect("encodes");
    let uri = file.to_uri().expect("encodes");
    let short = CardFile::new(file.card().clone(), None).expect("a card").to_bytes().expect("encodes");
    let foreign_kem = KemSecret::generate(&mut world::random(30)).expect("seeded").public();
    let mut exchanged = bytes.clone();
    let at = bytes.len() - foreign_kem.as_bytes().len();
    exchanged[at..].copy_from_slice(foreign_kem.as_bytes());
    let flipped = |at: usize| [&short[..at], &[short[at] ^ 1], &short[at + 1..]].concat();
    let mut seeds = vec![
        seed("file", bytes.clone()),
        seed("bytes", short.clone()),
        seed("uri", uri.clone()),
        seed("uri-with-space", format!("  {uri}\n")),
        seed("bad-base64", format!("{CARD_SCHEME}BA*")),
        seed("bad-uri-empty", CARD_SCHEME),
        seed("bad-uri-long", format!("{CARD_SCHEME}{}", "A".repeat(9000))),
        seed("bad-other-text", "https://example.org/card"),
        seed("bad-version", [&[0x14], &short[1..]].concat()),
        seed("bad-suite", [&[0xff], &short[1..]].concat()),
        seed("bad-foreign-kem", exchanged),
        seed("bad-lanes", flipped(60)),
        seed("bad-signature", flipped(short.len() - 2)),
        seed("bad-trailing", [&short[..], &[0]].concat()),
        seed("bad-short", &bytes[..bytes.len() - 1]),
        seed("bad-empty", []),
    ];
    seeds.push(seed("expired", {
        let old = world::NOW - 2 * CARD_GRACE;
        let card = secrets.card(&world::signing(5).public(), world::servers(), old, &mut world::random(6));
        card.expect("a card").to_bytes().expect("encodes")
    }));
    seeds.push(seed("bad-no-server", {
        // Signed as it should be, but for a lane that nobody can reach. Only its bytes can be put together.
        let lanes = secrets.first_list(&world::signing(5).public(), Vec::new()).expect("a list");
        assert!(Card::sign(lanes.clone(), world::secret(31), world::NOW, &secrets.ckp).is_err());
        by_hand(&lanes, &secrets.ckp)
    }));
    seeds.push(seed("bad-epoch", {
        let first = secrets.first_list(&world::signing(5).public(), world::servers()).expect("a list");
        let next: LaneList = first.next(first.list().lanes.to_vec(), &[]).expect("follows");
        by_hand(&VerifiedLaneList::sign(next, &secrets.ckp).expect("signs"), &secrets.ckp)
    }));
    seeds.push(seed("bad-no-lane", {
        let first = secrets.first_list(&world::signing(5).public(), world::servers()).expect("a list");
        let next = LaneList { epoch: 1, lanes: List::default(), ..first.list().clone() };
        by_hand(&VerifiedLaneList::sign(next, &secrets.ckp).expect("signs"), &secrets.ckp)
    }));
    seeds
}

/// The bytes of a card that [`Card::sign`] would refuse to make.
fn by_hand(lanes: &VerifiedLaneList, ckp: &meow_core::crypto::SigningKey) -> Vec<u8> {
    use meow_core::crypto::SignLabel;
    let (lanes, secret, expires) =
        (lanes.signed().to_wire().expect("encodes"), world::secret(31), world::NOW);
    let sig = ckp.sign(SignLabel::Card, &[&lanes, secret.expose(), &expires.to_be_bytes()]);
    let mut out = [&[Suite::Card.byte()][..], &lanes, secret.expose()].concat();
    let mut rest = expires;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(&sig.0);
    out.push(0);
    out
}

/// The parked KEM key of one card.
pub fn kem_blob(data: &[u8]) -> bool {
    let (file, _) = world::card();
    let Ok(kem) = file.card().open_kem(data, &[1; 32]) else { return false };
    assert_eq!(Some(&kem), file.kem());
    assert_eq!(file.card().seal_kem(&kem, &[1; 32]).expect("seals"), data);
    true
}

/// Seeds of [`kem_blob`].
pub fn kem_blob_seeds() -> Vec<Seed> {
    let (file, _) = world::card();
    let whole = file.card().seal_kem(file.kem().expect("the file form"), &[1; 32]).expect("seals");
    vec![
        seed("blob", whole.clone()),
        seed("bad-flipped", [&whole[..9], &[!whole[9]], &whole[10..]].concat()),
        seed("bad-short", &whole[..whole.len() - 1]),
        seed("bad-empty", []),
    ]
}
