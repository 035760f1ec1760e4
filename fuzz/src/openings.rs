//! The handshake: an item as it comes to who handed out a card, or to a contact whose keys are renewed.

use meow_core::card::{CardFile, CardSecrets};
use meow_core::crypto::{KemSecret, SigningKey};
use meow_core::lane::{LaneId, VerifiedLaneList};
use meow_core::message::Parties;
use meow_core::opening::{Initiate, KnownPeer, Opened, Respond, Statement, Terms};
use meow_core::wire::Text;

use crate::{Seed, Target, encoded, seed, strict, with_damage, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "opening", run: opening, seeds: opening_seeds },
    Target { name: "opening_statement", run: statement, seeds: statement_seeds },
];

/// What the two sides of a renewal have from before: the contact secret and each other's keys.
struct Known {
    secret: meow_core::crypto::Secret,
    peer: CardSecrets,
    parties: Parties,
}

fn known() -> Known {
    let ((_, own), peer) = (world::card(), world::secrets(80));
    let parties = Parties {
        from: peer.ckp.public(),
        to: own.ckp.public(),
        from_lane: LaneId::of(&peer.lane.public()),
        to_lane: LaneId::of(&own.lane.public()),
    };
    Known { secret: world::secret(81), peer, parties }
}

fn answered(item: &[u8]) -> Option<Opened> {
    let (file, own) = world::card();
    let terms = Terms::answer(file.card()).expect("a card has a hash");
    let ckp = own.ckp.public();
    Respond::answer(terms, (&own.prekey, &own.kem), &ckp).open(item, &mut world::random(82)).ok()
}

fn renewed(item: &[u8]) -> Option<Opened> {
    let ((_, own), known) = (world::card(), known());
    let (ckp, peer_ckp, lane) = (own.ckp.public(), known.peer.ckp.public(), known.peer.lane.public());
    let terms = Terms::renewal(&known.secret, &known.parties);
    let peer = KnownPeer { ckp: &peer_ckp, lane: &lane };
    Respond::renewal(terms, (&own.prekey, &own.kem), &ckp, peer).open(item, &mut world::random(82)).ok()
}

/// An item, tried as the answer to a card and as a renewal.
pub fn opening(data: &[u8]) -> bool {
    let (answered, renewed) = (answered(data), renewed(data));
    assert!(answered.is_none() || renewed.is_none(), "an opening serves one purpose");
    let Some(opened) = answered.or(renewed) else { return false };
    assert_ne!(opened.lanes.list().ckp, world::card().1.ckp.public(), "no reflection");
    true
}

fn answer_with(
    file: &CardFile,
    kem: &KemSecret,
    by: &CardSecrets,
    signer: &SigningKey,
    lanes: &VerifiedLaneList,
) -> Vec<u8> {
    let card = file.card();
    let greeting = Text::new("miau").expect("short");
    let to = (&card.lane().prekey, &kem.public());
    let terms = Terms::answer(card).expect("a card has a hash");
    let made = Initiate::answer(terms, to, &by.prekey, signer, lanes, greeting);
    made.seal(&mut world::random(83)).expect("seals").item
}

fn renewal_with(secrets: &CardSecrets, lanes: &VerifiedLaneList, (have, next): (u64, u64)) -> Vec<u8> {
    let ((_, own), known) = (world::card(), known());
    let terms = Terms::renewal(&known.secret, &known.parties);
    let mailbox = secrets.lookup.lookup(world::servers()).expect("few");
    let (prekey, kem) = (own.prekey.public(), own.kem.public());
    let made = Initiate::renewal(terms, (&prekey, &kem), &secrets.lane, lanes, mailbox, (have, next));
    made.seal(&mut world::random(84)).expect("seals").item
}

fn lanes(secrets: &CardSecrets) -> VerifiedLaneList {
    secrets.first_list(&world::signing(85).public(), world::servers()).expect("a list")
}

/// Seeds of [`opening`].
pub fn opening_seeds() -> Vec<Seed> {
    let (file, own) = world::card();
    let (taker, other) = (known().peer, world::secrets(86));
    let answer = |by: &CardSecrets, signer: &SigningKey, lanes: &VerifiedLaneList| {
        answer_with(&file, &own.kem, by, signer, lanes)
    };
    let good = answer(&taker, &taker.ckp, &lanes(&taker));
    let unreachable = taker.first_list(&world::signing(85).public(), Vec::new()).expect("a list");
    let next = lanes(&taker).next(lanes(&taker).list().lanes.to_vec(), &[]).expect("follows");
    let next = VerifiedLaneList::sign(next, &taker.ckp).expect("signs");
    let foreign_card =
        other.card(&world::signing(5).public(), world::servers(), world::NOW, &mut world::random(87));
    let foreign_card = foreign_card.expect("a card");
    let to_foreign = answer_with(&foreign_card, &other.kem, &taker, &taker.ckp, &lanes(&taker));
    let flipped = |at: usize| [&good[..at], &[good[at] ^ 1], &good[at + 1..]].concat();
    vec![
        seed("answer", good.clone()),
        seed("renewal", renewal_with(&taker, &lanes(&taker), (3, 7))),
        seed("renewal-of-a-later-epoch", renewal_with(&taker, &next, (0, 1))),
        seed("bad-answer-reflected", answer(&own, &own.ckp, &lanes(&own))),
        seed("bad-answer-signer", answer(&taker, &other.ckp, &lanes(&taker))),
        seed("bad-answer-unreachable", answer(&taker, &taker.ckp, &unreachable)),
        seed("bad-answer-epoch", answer(&taker, &taker.ckp, &next)),
        seed("bad-answer-to-another-card", to_foreign),
        seed("bad-renewal-by-another", renewal_with(&other, &lanes(&other), (3, 7))),
        seed("bad-renewal-sequence", renewal_with(&taker, &lanes(&taker), (7, 7))),
        seed("bad-ephemeral", [&good[..1], &[0; 32], &good[33..]].concat()),
        seed("bad-ephemeral-not-canonical", [&good[..1], &[0xff; 32], &good[33..]].concat()),
        seed("bad-kem-ciphertext", flipped(100)),
        seed("bad-payload", flipped(1500)),
        seed("bad-suite", flipped(0)),
        seed("bad-version", [&[0x13], &good[1..]].concat()),
        seed("bad-short", &good[..20]),
        seed("bad-short-ciphertext", &good[..500]),
        seed("bad-short-payload", &good[..1 + 32 + 1088 + 10]),
        seed("bad-empty", []),
    ]
}

/// What stands under the seal.
pub fn statement(data: &[u8]) -> bool {
    strict::<Statement>(data).is_some()
}

/// Seeds of [`statement`].
pub fn statement_seeds() -> Vec<Seed> {
    let taker = known().peer;
    let answer = answered(&opening_seeds()[0].1).expect("opens").statement;
    let renewal = renewed(&renewal_with(&taker, &lanes(&taker), (3, 7))).expect("opens").statement;
    let (_, whole) = encoded("", &answer);
    let greeting = whole.len() - 5;
    let long = [&whole[..greeting], &[0xf5, 3], &[b'a'; 501]].concat();
    with_damage::<Statement>(vec![
        encoded("answer", &answer),
        encoded("renewal", &renewal),
        seed("bad-greeting-long", long),
        seed("bad-greeting-text", [&whole[..greeting], &[1, 0xff]].concat()),
    ])
}
