//! One answer and one renewal, with everything that was drawn for them.

use meow_core::card::{Card, CardSecrets};
use meow_core::crypto::{DhPublic, HashLabel};
use meow_core::crypto::{
    DhSecret, KEM_CIPHERTEXT, KemSecret, KeyLabel, Secret, SeededRandom, SigningKey, derive, hash, open_siv,
};
use meow_core::identity::Master;
use meow_core::lane::{LaneId, Lookup, Place, ServerRef, VerifiedLaneList};
use meow_core::message::Parties;
use meow_core::opening::{Handshake, Initiate, Initiated, KnownPeer, Opened, Respond, Terms};
use meow_core::wire::{Fixed, Text, Wire};
use serde_json::json;

use crate::harness::{Recorder, Section, hex};

struct Person {
    secrets: CardSecrets,
    lanes: VerifiedLaneList,
    card: Card,
}

fn person(seed: u64) -> Person {
    let mut random = SeededRandom::new(seed);
    let master = Master::generate(&mut random).unwrap();
    let secrets = CardSecrets::generate(&master.root(0), &mut random).unwrap();
    let server = ServerRef::new([0x5e; 32], &["https://relay.example/meow".parse().unwrap()]).unwrap();
    let recovery = master.recovery_key(0).public();
    let lanes = secrets.first_list(&recovery, vec![server.clone()]).unwrap();
    let file = secrets.card(&recovery, vec![server], 1_800_000_000, &mut random).unwrap();
    Person { secrets, lanes, card: file.card().clone() }
}

fn secrets(section: &mut Section, name: &str, who: &Person) {
    let s = &who.secrets;
    section.case(
        name,
        json!({
            "ckp seed": hex(*s.ckp.seed()), "lane seed": hex(*s.lane.seed()), "prekey secret": hex(*s.prekey.expose()),
            "kem seed": hex(postcard::to_stdvec(&s.kem).unwrap()),
            "signed list": hex(who.lanes.signed().to_wire().unwrap()),
        }),
    );
}

/// What follows from an opening: the responder's first draw is its Ekp.
fn outcome(
    section: &mut Section,
    name: &str,
    (begun, opened): (&Initiated, &Opened),
    (by_initiator, by_responder): (&SigningKey, &SigningKey),
) {
    let confirmation = |h: &Handshake, signer: &SigningKey| {
        let (sig, mac) = h.confirmation(signer);
        json!({ "sig": hex(sig), "mac": hex(mac) })
    };
    assert_eq!(begun.handshake.transcript(), opened.handshake.transcript());
    section.case(
        name,
        json!({
            "statement": hex(opened.statement.to_wire().unwrap()), "T": hex(opened.handshake.transcript()),
            "contact secret": hex(opened.handshake.contact_secret().expose()),
            "confirmation of R": confirmation(&opened.handshake, by_responder),
            "confirmation of I": confirmation(&begun.handshake, by_initiator),
        }),
    );
}

#[test]
fn openings() {
    let mut section = Section::new(
        "openings",
        "An answer to a card and a renewal. `drawn by I` is E's private key, the private ekp and the input of the \
         ML-KEM encapsulation; the ratchets that follow are as in ratchet.json.",
    );
    let (bob, alice) = (person(30), person(31));
    secrets(&mut section, "R, whose card is answered", &bob);
    secrets(&mut section, "I, who answers", &alice);
    let mut random = Recorder::new(32);
    let greeting = Text::new("hello").unwrap();
    let kem = bob.secrets.kem.public();
    let begun = Initiate::answer(
        Terms::answer(&bob.card).unwrap(),
        (&bob.card.lane().prekey, &kem),
        &alice.secrets.prekey,
        &alice.secrets.ckp,
        &alice.lanes,
        greeting,
    )
    .seal(&mut random)
    .unwrap();
    section.case(
        "answer",
        json!({
            "card": hex(bob.card.to_wire().unwrap()), "psk": hex(bob.card.secret().expose()),
            "C": hex(bob.card.hash().unwrap()), "PR": hex(bob.card.lane().prekey.as_bytes()),
            "KR": hex(kem.as_bytes()), "greeting": "hello", "drawn by I": random.take(), "item": hex(&begun.item),
        }),
    );
    let keys = (&bob.secrets.prekey, &bob.secrets.kem);
    let ckp = bob.secrets.ckp.public();
    let opened = Respond::answer(Terms::answer(&bob.card).unwrap(), keys, &ckp)
        .open(&begun.item, &mut random)
        .unwrap();
    by_hand(&bob, &begun, &opened);
    outcome(&mut section, "answer: what follows", (&begun, &opened), (&alice.secrets.ckp, &bob.secrets.ckp));
    renewal(&mut section, &bob, &alice, opened.handshake.contact_secret());
    section.check();
}

fn renewal(section: &mut Section, bob: &Person, alice: &Person, psk: &Secret) {
    let mut random = Recorder::new(33);
    let (prekey, kem) = (DhSecret::generate(&mut random).unwrap(), KemSecret::generate(&mut random).unwrap());
    random.take();
    let parties = Parties {
        from: alice.secrets.ckp.public(),
        to: bob.secrets.ckp.public(),
        from_lane: LaneId::of(&alice.secrets.lane.public()),
        to_lane: LaneId::of(&bob.secrets.lane.public()),
    };
    let lane = &alice.lanes.list().lanes[0];
    let place = Place { token: Fixed([0x77; 16]), ..lane.lookup.places()[0].clone() };
    let mailbox = Lookup::new(Secret::new([0x78; 32]), vec![place]).unwrap();
    let (public, kem_public) = (prekey.public(), kem.public());
    let begun = Initiate::renewal(
        Terms::renewal(psk, &parties),
        (&public, &kem_public),
        &alice.secrets.lane,
        &alice.lanes,
        mailbox,
        (41, 44),
    )
    .seal(&mut random)
    .unwrap();
    section.case(
        "renewal",
        json!({
            "psk": hex(psk.expose()), "C": hex(parties.associated_data()), "PR secret": hex(*prekey.expose()),
            "KR seed": hex(postcard::to_stdvec(&kem).unwrap()), "have": 41, "next": 44,
            "drawn by I": random.take(), "item": hex(&begun.item),
        }),
    );
    let (own, lane) = (bob.secrets.ckp.public(), alice.secrets.lane.public());
    let peer = KnownPeer { ckp: &parties.from, lane: &lane };
    let opened = Respond::renewal(Terms::renewal(psk, &parties), (&prekey, &kem), &own, peer)
        .open(&begun.item, &mut random)
        .unwrap();
    let signers = (&alice.secrets.lane, &bob.secrets.lane);
    outcome(section, "renewal: what follows", (&begun, &opened), signers);
}

/// The answer, opened from the spec with nothing but primitives.
fn by_hand(bob: &Person, begun: &Initiated, opened: &Opened) {
    let item = &begun.item;
    let e = DhPublic::from_bytes(item[1..33].try_into().unwrap()).unwrap();
    let ct: [u8; KEM_CIPHERTEXT] = item[33..33 + KEM_CIPHERTEXT].try_into().unwrap();
    let (pr, psk, c) = (bob.secrets.prekey.public(), bob.card.secret(), bob.card.hash().unwrap());
    let dh1 = bob.secrets.prekey.agree(&e).unwrap();
    let (ss, _) = bob.secrets.kem.decapsulate(&ct);
    let ikm = [*dh1.expose(), *ss.expose()].concat();
    let context: [&[u8]; 6] = [&[3], &[0], &c, e.as_bytes(), pr.as_bytes(), &ct];
    let k = Secret::new(derive(KeyLabel::Opening, psk.expose(), &ikm, &context));
    let head = 33 + KEM_CIPHERTEXT;
    let plain = open_siv(&k, &[0; 12], &item[..head], &item[head..]).unwrap();
    let statement = opened.statement.to_wire().unwrap();
    assert_eq!(plain[..statement.len()], statement);
    assert_eq!(plain[statement.len() + 64], 0x80);
    let kr = bob.secrets.kem.public().digest();
    let parts: [&[u8]; 8] = [&[3], &[0], &c, pr.as_bytes(), &kr, e.as_bytes(), &ct, &statement];
    let t = hash(HashLabel::Transcript, &parts);
    assert_eq!(t, *opened.handshake.transcript());
    let pi = opened.lanes.list().lanes[0].prekey;
    let dh2 = bob.secrets.prekey.agree(&pi).unwrap();
    let ikm = [*dh1.expose(), *dh2.expose(), *ss.expose()].concat();
    let context: [&[u8]; 5] =
        [&t, pi.as_bytes(), pr.as_bytes(), e.as_bytes(), opened.statement.ekp.as_bytes()];
    let okm: [u8; 160] = derive(KeyLabel::Handshake, psk.expose(), &ikm, &context);
    assert_eq!(okm[96..128], opened.handshake.contact_secret().expose()[..]);
}
