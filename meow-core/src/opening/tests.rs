//! Openings that hold, and those that must not.

use super::*;
use crate::card::CardSecrets;
use crate::crypto::{DhSecret, KemPublic, KemSecret, SeededRandom, SigningKey};
use crate::identity::Master;
use crate::lane::Lookup;
use crate::lane::{LaneId, ServerRef, VerifiedLaneList};
use crate::ratchet::Ratchet;
use crate::wire::Text;

/// Someone with one fresh contact identity.
struct Person {
    secrets: CardSecrets,
    lanes: VerifiedLaneList,
    card: Card,
}

impl Person {
    fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let root = Master::generate(&mut random).unwrap().root(0);
        let secrets = CardSecrets::generate(&root, &mut random).unwrap();
        let recovery = SigningKey::generate(&mut random).unwrap().public();
        let server = ServerRef::new([7; 32], &["http://relay.example".parse().unwrap()]).unwrap();
        let lanes = secrets.first_list(&recovery, vec![server.clone()]).unwrap();
        let file = secrets.card(&recovery, vec![server], 1_900_000_000, &mut random).unwrap();
        Self { secrets, lanes, card: file.card().clone() }
    }

    fn ckp(&self) -> VerifyKey {
        self.secrets.ckp.public()
    }

    fn lane_id(&self) -> LaneId {
        LaneId::of(&self.secrets.lane.public())
    }

    fn answer(&self, card: &Card, kem: &KemPublic, greeting: &str) -> Initiated {
        let terms = Terms::answer(card).unwrap();
        let (keys, greeting) = ((&card.lane().prekey, kem), Text::new(greeting).unwrap());
        Initiate::answer(terms, keys, &self.secrets.prekey, &self.secrets.ckp, &self.lanes, greeting)
            .seal(&mut SeededRandom::new(99))
            .unwrap()
    }

    fn receive(&self, item: &[u8]) -> Result<Opened, OpeningError> {
        let terms = Terms::answer(&self.card).unwrap();
        let keys = (&self.secrets.prekey, &self.secrets.kem);
        Respond::answer(terms, keys, &self.ckp()).open(item, &mut SeededRandom::new(98))
    }
}

/// Both ratchets speak to each other.
fn speak(responder: &mut Ratchet, initiator: &mut Ratchet) {
    let mut random = SeededRandom::new(97);
    let m = responder.encrypt(&mut random, true, &[1; 32], b"first").unwrap();
    let (text, step) = initiator.decrypt(&[1; 32], &m).unwrap();
    initiator.apply(step).unwrap();
    assert_eq!(text, b"first");
    let m = initiator.encrypt(&mut random, true, &[2; 32], b"second").unwrap();
    let (text, step) = responder.decrypt(&[2; 32], &m).unwrap();
    responder.apply(step).unwrap();
    assert_eq!(text, b"second");
}

#[test]
fn an_answer_opens_and_both_confirm() {
    let (bob, alice) = (Person::new(1), Person::new(2));
    let mut begun = alice.answer(&bob.card, &bob.secrets.kem.public(), "hello");
    assert_eq!(begun.item.len(), 1888);
    let mut opened = bob.receive(&begun.item).unwrap();
    assert_eq!(&*opened.statement.greeting, "hello");
    assert_eq!(opened.lanes.list().ckp, alice.ckp());
    assert_eq!(opened.handshake.transcript(), begun.handshake.transcript());
    assert_eq!(opened.handshake.contact_secret(), begun.handshake.contact_secret());

    let (sig, mac) = opened.handshake.confirmation(&bob.secrets.ckp);
    begun.handshake.check(&bob.ckp(), &sig, &mac).unwrap();
    assert!(opened.handshake.check(&bob.ckp(), &sig, &mac).is_err(), "reflected");
    assert!(begun.handshake.check(&alice.ckp(), &sig, &mac).is_err(), "another's");
    let (sig, mac) = begun.handshake.confirmation(&alice.secrets.ckp);
    opened.handshake.check(&alice.ckp(), &sig, &mac).unwrap();
    speak(&mut opened.ratchet, &mut begun.ratchet);
}

#[test]
fn a_pending_handshake_is_redacted_and_survives_storage() {
    let (bob, alice) = (Person::new(3), Person::new(4));
    let begun = alice.answer(&bob.card, &bob.secrets.kem.public(), "");
    let bytes = postcard::to_stdvec(&begun.handshake).unwrap();
    let back: Handshake = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(back.transcript(), begun.handshake.transcript());
    assert_eq!(format!("{back:?}"), "Handshake { role: Initiator, .. }");
}

#[test]
fn every_flipped_bit_is_refused() {
    let (bob, alice) = (Person::new(5), Person::new(6));
    let item = alice.answer(&bob.card, &bob.secrets.kem.public(), "hi").item;
    assert!(bob.receive(&item).is_ok());
    // All of the head's public key, and every ninth bit of the rest.
    for bit in (0..33 * 8).chain((33 * 8..item.len() * 8).step_by(9)) {
        let mut forged = item.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(bob.receive(&forged).unwrap_err(), OpeningError::Rejected, "bit {bit}");
    }
    for len in [0, 1, 32, 33, 1120, 1121, 1137, 1887] {
        assert_eq!(bob.receive(&item[..len]).unwrap_err(), OpeningError::Rejected);
    }
}

#[test]
fn a07_substituted_identities() {
    let (bob, alice, mallory) = (Person::new(7), Person::new(8), Person::new(9));
    let kem = bob.secrets.kem.public();

    // Mallory answers with Alice's lanes: the Ckp in them has not signed.
    let forged = Initiate::answer(
        Terms::answer(&bob.card).unwrap(),
        (&bob.card.lane().prekey, &kem),
        &mallory.secrets.prekey,
        &mallory.secrets.ckp,
        &alice.lanes,
        Text::default(),
    );
    let forged = forged.seal(&mut SeededRandom::new(90)).unwrap();
    assert_eq!(bob.receive(&forged.item).unwrap_err(), OpeningError::Rejected);

    // Alice signs, but the prekey of her lanes is not hers to use: the keys differ, confirmation fails.
    let wrong = Initiate::answer(
        Terms::answer(&bob.card).unwrap(),
        (&bob.card.lane().prekey, &kem),
        &mallory.secrets.prekey,
        &alice.secrets.ckp,
        &alice.lanes,
        Text::default(),
    );
    let wrong = wrong.seal(&mut SeededRandom::new(91)).unwrap();
    let opened = bob.receive(&wrong.item).unwrap();
    let (sig, mac) = opened.handshake.confirmation(&bob.secrets.ckp);
    assert!(wrong.handshake.check(&bob.ckp(), &sig, &mac).is_err());

    // An answer to Bob's card is none to Mallory's, though she knows its secret.
    let begun = alice.answer(&bob.card, &kem, "");
    let own = mallory.ckp();
    let to_mallory = Respond::answer(
        Terms::answer(&bob.card).unwrap(),
        (&mallory.secrets.prekey, &mallory.secrets.kem),
        &own,
    );
    assert!(to_mallory.open(&begun.item, &mut SeededRandom::new(92)).is_err());

    // Bob's confirmation, signed by someone else.
    let opened = bob.receive(&begun.item).unwrap();
    let (sig, mac) = opened.handshake.confirmation(&mallory.secrets.ckp);
    assert!(begun.handshake.check(&bob.ckp(), &sig, &mac).is_err());
    // Alice's, likewise; and what she did sign is nobody else's.
    let (sig, mac) = begun.handshake.confirmation(&mallory.secrets.ckp);
    assert!(opened.handshake.check(&alice.secrets.ckp.public(), &sig, &mac).is_err());
    let (sig, mac) = begun.handshake.confirmation(&alice.secrets.ckp);
    assert!(opened.handshake.check(&mallory.ckp(), &sig, &mac).is_err());
    assert!(opened.handshake.check(&alice.secrets.ckp.public(), &sig, &mac).is_ok());

    // Mallory forwards Bob's card as hers: Alice finds Bob behind it, whoever handed it over.
    assert_eq!(*bob.card.ckp(), bob.ckp());
}

#[test]
fn a07_two_openings_share_nothing() {
    let (bob, alice) = (Person::new(10), Person::new(11));
    let kem = bob.secrets.kem.public();
    let one = alice.answer(&bob.card, &kem, "one");
    let two = alice.answer(&bob.card, &kem, "two");
    assert_ne!(one.handshake.transcript(), two.handshake.transcript());
    let opened = bob.receive(&one.item).unwrap();
    let (sig, mac) = opened.handshake.confirmation(&bob.secrets.ckp);
    assert!(two.handshake.check(&bob.ckp(), &sig, &mac).is_err());
}

#[test]
fn a01_an_opening_does_not_come_back_to_its_maker() {
    let (bob, alice) = (Person::new(12), Person::new(13));
    let begun = alice.answer(&bob.card, &bob.secrets.kem.public(), "");
    assert!(alice.receive(&begun.item).is_err());
    // Not even where someone answers the own card.
    let own = bob.answer(&bob.card, &bob.secrets.kem.public(), "");
    assert_eq!(bob.receive(&own.item).unwrap_err(), OpeningError::Rejected);
}

#[test]
fn a11_both_cards_substituted_gives_different_transcripts() {
    let (bob, alice) = (Person::new(14), Person::new(15));
    let (as_bob, as_alice) = (Person::new(16), Person::new(17));
    // Alice takes Mallory's card for Bob's; Bob's card is answered by Mallory.
    let left = alice.answer(&as_bob.card, &as_bob.secrets.kem.public(), "");
    let right = as_alice.answer(&bob.card, &bob.secrets.kem.public(), "");
    let opened = bob.receive(&right.item).unwrap();
    assert_ne!(left.handshake.transcript(), opened.handshake.transcript());
}

#[test]
fn a12_low_order_points() {
    let (bob, alice) = (Person::new(18), Person::new(19));
    let mut item = alice.answer(&bob.card, &bob.secrets.kem.public(), "").item;
    for low in [[0u8; 32], one(), top_bit()] {
        item[1..33].copy_from_slice(&low);
        assert_eq!(bob.receive(&item).unwrap_err(), OpeningError::Rejected);
    }
    let (prekey, kem) = (DhPublic::from_bytes(&one()).unwrap(), bob.secrets.kem.public());
    let refused = Initiate::answer(
        Terms::answer(&bob.card).unwrap(),
        (&prekey, &kem),
        &alice.secrets.prekey,
        &alice.secrets.ckp,
        &alice.lanes,
        Text::default(),
    );
    let refused = refused.seal(&mut SeededRandom::new(93)).unwrap_err();
    assert_eq!(refused, OpeningError::Crypto(CryptoError::BadKey));
}

fn one() -> [u8; 32] {
    let mut point = [0u8; 32];
    point[0] = 1;
    point
}

fn top_bit() -> [u8; 32] {
    let mut point = one();
    point[31] = 0x80;
    point
}

/// A renewal by `by` towards `to`, as `to` takes it.
struct Renewal<'a> {
    by: &'a Person,
    to: &'a Person,
    prekey: DhSecret,
    kem: KemSecret,
    secret: Secret,
}

impl<'a> Renewal<'a> {
    fn new(by: &'a Person, to: &'a Person) -> Self {
        let mut random = SeededRandom::new(80);
        let prekey = DhSecret::generate(&mut random).unwrap();
        let kem = KemSecret::generate(&mut random).unwrap();
        Self { by, to, prekey, kem, secret: Secret::generate(&mut random).unwrap() }
    }

    fn parties(&self) -> Parties {
        Parties {
            from: self.by.ckp(),
            to: self.to.ckp(),
            from_lane: self.by.lane_id(),
            to_lane: self.to.lane_id(),
        }
    }

    fn seal(&self, signer: &SigningKey) -> Initiated {
        let lookup = Lookup::new(Secret::new([3; 32]), Vec::new()).unwrap();
        let terms = Terms::renewal(&self.secret, &self.parties());
        let (prekey, kem) = (self.prekey.public(), self.kem.public());
        Initiate::renewal(terms, (&prekey, &kem), signer, &self.by.lanes, lookup, (7, 9))
            .seal(&mut SeededRandom::new(81))
            .unwrap()
    }

    fn open(&self, item: &[u8], secret: &Secret, lane: &VerifyKey) -> Result<Opened, OpeningError> {
        let ckp = self.by.ckp();
        let (own, terms) = (self.to.ckp(), Terms::renewal(secret, &self.parties()));
        Respond::renewal(terms, (&self.prekey, &self.kem), &own, KnownPeer { ckp: &ckp, lane })
            .open(item, &mut SeededRandom::new(82))
    }
}

#[test]
fn a_renewal_opens_with_the_contact_secret_and_the_lane_key_only() {
    let (bob, alice, mallory) = (Person::new(20), Person::new(21), Person::new(22));
    let renewal = Renewal::new(&alice, &bob);
    let lane = alice.secrets.lane.public();
    let mut begun = renewal.seal(&alice.secrets.lane);
    let mut opened = renewal.open(&begun.item, &renewal.secret, &lane).unwrap();
    assert_eq!((opened.statement.have, opened.statement.next), (7, 9));
    let (sig, mac) = opened.handshake.confirmation(&bob.secrets.lane);
    begun.handshake.check(&bob.secrets.lane.public(), &sig, &mac).unwrap();
    speak(&mut opened.ratchet, &mut begun.ratchet);

    assert!(renewal.open(&begun.item, &Secret::new([1; 32]), &lane).is_err(), "another secret");
    let by_ckp = renewal.seal(&alice.secrets.ckp);
    assert!(renewal.open(&by_ckp.item, &renewal.secret, &lane).is_err(), "not the lane key");
    let by_mallory = renewal.seal(&mallory.secrets.lane);
    assert!(renewal.open(&by_mallory.item, &renewal.secret, &lane).is_err(), "not the contact");
    // The same secret in the other direction.
    let back = Renewal { by: &bob, to: &alice, ..Renewal::new(&bob, &alice) };
    assert!(back.open(&begun.item, &renewal.secret, &lane).is_err(), "reflected");
}

#[test]
fn purposes_are_not_mixed_up() {
    let (bob, alice) = (Person::new(23), Person::new(24));
    let renewal = Renewal::new(&alice, &bob);
    let begun = renewal.seal(&alice.secrets.lane);
    assert!(bob.receive(&begun.item).is_err());
    let terms = Terms::renewal(&renewal.secret, &renewal.parties());
    let (prekey, kem) = (renewal.prekey.public(), renewal.kem.public());
    let mixed = Initiate::answer(
        terms,
        (&prekey, &kem),
        &alice.secrets.prekey,
        &alice.secrets.ckp,
        &alice.lanes,
        Text::default(),
    );
    assert_eq!(mixed.seal(&mut SeededRandom::new(1)).unwrap_err(), OpeningError::Rejected);
}
