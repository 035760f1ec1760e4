//! Cards: forms, time, tampering, safety codes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow_core::card::{CARD_GRACE, CARD_SCHEME, Card, CardError, CardFile, SafetyCode};
use meow_core::crypto::{KEM_PUBLIC, KemSecret, SeededRandom, SignLabel, SigningKey};
use meow_core::lane::{LaneList, ServerRef, VerifiedLaneList};
use meow_core::wire::Wire;
use meow_core::{Error, ErrorKind};
use proptest::prelude::*;

use crate::common::{Issuer, NOW, first_list, recovery, root, secret, server};

fn uri_of(bytes: &[u8]) -> String {
    format!("{CARD_SCHEME}{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn both_forms_come_back() {
    let issuer = Issuer::new(1);
    let bytes = issuer.file.to_bytes().unwrap();
    assert_eq!(CardFile::parse(&bytes).unwrap(), issuer.file);
    let uri = issuer.file.to_uri().unwrap();
    let short = CardFile::parse(uri.as_bytes()).unwrap();
    assert_eq!(short.card(), issuer.card());
    assert!(short.kem().is_none() && issuer.file.kem().is_some());
    assert_eq!(CardFile::parse(format!("\n  {uri}\r\n").as_bytes()).unwrap(), short);
    assert_eq!(short.to_uri().unwrap(), uri);
    assert_eq!(short.card().hash().unwrap(), issuer.card().hash().unwrap());
}

#[test]
fn a_card_says_who_where_and_until_when() {
    let issuer = Issuer::new(1);
    let (card, secrets) = (issuer.card(), &issuer.secrets);
    assert_eq!(*card.ckp(), secrets.ckp.public());
    assert_eq!(card.lane().key, secrets.lane.public());
    assert_eq!(card.lane().prekey, secrets.prekey.public());
    assert_eq!(card.lane().lookup.places(), [secrets.lookup.place(server(1))]);
    assert_eq!(issuer.file.kem(), Some(&secrets.kem.public()));
    let last = card.expires() + CARD_GRACE;
    assert_eq!((card.check_time(0), card.check_time(NOW), card.check_time(last)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(card.check_time(last + 1), Err(CardError::Expired));
}

#[test]
fn secrets_survive_the_store() {
    let issuer = Issuer::new(1);
    let stored = serde_json::to_vec(&issuer.secrets).unwrap();
    let read: meow_core::card::CardSecrets = serde_json::from_slice(&stored).unwrap();
    let list = |s: &meow_core::card::CardSecrets| s.first_list(&recovery(1), vec![server(1)]).unwrap();
    assert_eq!(list(&read), *issuer.card().lanes());
    assert_eq!((read.close, read.contact_id), (issuer.secrets.close, issuer.secrets.contact_id));
    // The root gives the same contact key again.
    assert_eq!(root(1).ckp(&read.contact_id).public(), *issuer.card().ckp());
}

#[test]
fn every_error_says_what_to_do() {
    let issuer = Issuer::new(1);
    let bytes = issuer.file.to_bytes().unwrap();
    let newer = [&[0x14], &bytes[1..]].concat();
    let cases = [
        (CardFile::parse(&newer).unwrap_err(), ErrorKind::NewerVersion, "update"),
        (CardFile::parse(uri_of(&newer).as_bytes()).unwrap_err(), ErrorKind::NewerVersion, "update"),
        (CardFile::parse(b"").unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        // Its first letter would be a version.
        (CardFile::parse(b"hello").unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        (CardFile::parse(b"meow:").unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        (CardFile::parse(b"meow:!!").unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        (CardFile::parse(&bytes[..900]).unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        // Another suite.
        (CardFile::parse(&[&[0x03], &bytes[1..]].concat()).unwrap_err(), ErrorKind::Malformed, "copy all"),
        // One card has one URI.
        (CardFile::parse(uri_of(&bytes).as_bytes()).unwrap_err(), ErrorKind::Malformed, "copy all of it"),
        (CardError::Expired, ErrorKind::Expired, "ask its owner"),
        (CardError::NoServer, ErrorKind::Usage, "add a server"),
    ];
    for (error, kind, advice) in cases {
        let error = Error::from(error);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn a_card_needs_a_server_and_one_lane() {
    let issuer = Issuer::new(1);
    let make = |servers| issuer.secrets.card(&recovery(1), servers, NOW, &mut SeededRandom::new(2));
    assert_eq!(make(vec![]).unwrap_err(), CardError::NoServer);
    assert_eq!(make(vec![ServerRef::new([1; 32], &[]).unwrap()]).unwrap_err(), CardError::NoServer);
    assert!(matches!(make(vec![server(1); 5]).unwrap_err(), CardError::Lanes(_)));

    let sign = |list: &VerifiedLaneList, ckp| Card::sign(list.clone(), secret(1), NOW, ckp);
    let (ckp, one) = first_list(1, 3);
    assert!(sign(&one, &ckp).is_ok());
    assert_eq!(sign(&one, &issuer.secrets.ckp).unwrap_err(), CardError::Malformed);
    let (ckp2, two) = first_list(2, 3);
    assert_eq!(sign(&two, &ckp2).unwrap_err(), CardError::Malformed);
    let later = VerifiedLaneList::sign(one.next(one.list().lanes.to_vec(), &[]).unwrap(), &ckp).unwrap();
    assert_eq!(sign(&later, &ckp).unwrap_err(), CardError::Malformed);
}

#[test]
fn the_kem_key_waits_under_the_card_secret() {
    let (issuer, other) = (Issuer::new(1), Issuer::new(2));
    let card = issuer.card();
    let kem = issuer.secrets.kem.public();
    let (here, there) = (server(1), server(2));
    let (here, there) = (here.fingerprint(), there.fingerprint());
    let blob = card.seal_kem(&kem, here).unwrap();
    assert_eq!(blob.len(), KEM_PUBLIC + 16);
    assert_eq!(card.seal_kem(&kem, here).unwrap(), blob, "never two plaintexts under one key and nonce");
    assert_eq!(card.open_kem(&blob, here).unwrap(), kem);
    assert_ne!(card.kem_blob_name(here), other.card().kem_blob_name(here));
    assert_eq!(other.card().open_kem(&blob, here).unwrap_err(), CardError::Malformed);
    // Two servers that hold it hold nothing in common.
    assert_ne!(card.kem_blob_name(here), card.kem_blob_name(there));
    assert_ne!(card.seal_kem(&kem, there).unwrap(), blob);
    assert_eq!(card.open_kem(&blob, there).unwrap_err(), CardError::Malformed);
    for kem in
        [&other.secrets.kem.public(), &KemSecret::generate(&mut SeededRandom::new(9)).unwrap().public()]
    {
        assert_eq!(card.seal_kem(kem, here).unwrap_err(), CardError::Malformed);
        assert_eq!(CardFile::new(card.clone(), Some(kem.clone())).unwrap_err(), CardError::Malformed);
    }
    for bit in (0..blob.len() * 8).step_by(61) {
        let mut bad = blob.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(card.open_kem(&bad, here).unwrap_err(), CardError::Malformed);
    }
    assert_eq!(card.open_kem(&[], here).unwrap_err(), CardError::Malformed);
}

#[test]
fn a09_every_bit_of_a_card_counts() {
    let issuer = Issuer::new(1);
    let bytes = issuer.file.to_bytes().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(CardFile::parse(&bad).is_err(), "bit {bit} of the file");
    }
    let uri = issuer.file.to_uri().unwrap().into_bytes();
    for bit in 0..uri.len() * 8 {
        let mut bad = uri.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(CardFile::parse(&bad).is_err(), "bit {bit} of the URI");
    }
}

/// Where each field of a file-form card lies.
fn fields(bytes: &[u8]) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let widths = [
        ("outermost byte", 1),
        ("ckp", 32),
        ("epoch", 1),
        ("prev", 32),
        ("recovery", 32),
        ("lane count", 1),
        ("lane key", 32),
        ("prekey", 32),
        ("kem digest", 32),
        ("wrap", 32),
        ("place count", 1),
        ("server", server(1).to_wire().unwrap().len()),
        ("lkp", 32),
        ("token", 16),
        ("revoked count", 1),
        ("list signature", 64),
        ("card secret", 32),
        ("expires", 5),
        ("card signature", 64),
        ("kem tag", 1),
        ("kem key", KEM_PUBLIC),
    ];
    let mut at = 0;
    let fields = widths.map(|(name, width)| {
        at += width;
        (name, at - width..at)
    });
    assert_eq!(at, bytes.len());
    fields.into()
}

#[test]
fn a09_no_field_can_be_dropped_blanked_or_swapped() {
    let (bytes, other) = (Issuer::new(1).file.to_bytes().unwrap(), Issuer::new(2).file.to_bytes().unwrap());
    let mut tried = 0;
    for (name, range) in fields(&bytes) {
        let splice = |new: &[u8]| {
            let mut bad = bytes.clone();
            bad.splice(range.clone(), new.iter().copied());
            bad
        };
        for bad in [splice(&[]), splice(&vec![0; range.len()]), splice(&other[range.clone()])] {
            if bad != bytes {
                assert!(CardFile::parse(&bad).is_err(), "{name}");
                tried += 1;
            }
        }
    }
    // The option's tag and the KEM key go together, and then the card is whole, in the short form.
    assert!(tried > 40);
    let cut = fields(&bytes)[19].1.start;
    let short = [&bytes[..cut], &[0]].concat();
    assert!(CardFile::parse(&short).unwrap().kem().is_none());
}

#[test]
fn a09_valid_parts_of_two_cards_do_not_fit() {
    // The same person, two cards: the list of one under the signature of the other.
    let (a, b) = (Issuer::new(1), Issuer::new(2));
    let whole = Card::sign(a.card().lanes().clone(), secret(1), NOW, &a.secrets.ckp).unwrap();
    let later = Card::sign(a.card().lanes().clone(), secret(1), NOW + 1, &a.secrets.ckp).unwrap();
    let (x, y) = (whole.to_wire().unwrap(), later.to_wire().unwrap());
    let mixed = [&x[..x.len() - 64], &y[y.len() - 64..]].concat();
    assert!(Card::from_wire(&mixed).is_err());
    let foreign = b.card().to_wire().unwrap();
    assert!(Card::from_wire(&[&x[..x.len() - 64], &foreign[foreign.len() - 64..]].concat()).is_err());
}

#[test]
fn a08_a_card_cannot_be_passed_on_under_another_name() {
    let (bob, mallory) = (Issuer::new(1), Issuer::new(2));
    // Bob's lane list under Mallory's signature is no card.
    let (list, ckp) = (bob.card().lanes().clone(), &mallory.secrets.ckp);
    assert_eq!(Card::sign(list.clone(), secret(1), NOW, ckp).unwrap_err(), CardError::Malformed);
    let encoded = list.signed().to_wire().unwrap();
    let sig = ckp.sign(SignLabel::Card, &[&encoded, secret(1).expose(), &NOW.to_be_bytes()]);
    let own = Card::sign(list, secret(1), NOW, &bob.secrets.ckp).unwrap().to_wire().unwrap();
    assert!(Card::from_wire(&own).is_ok());
    assert!(Card::from_wire(&[&own[..own.len() - 64], sig.as_bytes()].concat()).is_err());
    // Nor is Bob's list with Mallory's Ckp written over his.
    let renamed = LaneList { ckp: ckp.public(), ..bob.card().lanes().list().clone() };
    let stolen = VerifiedLaneList::sign(renamed, ckp).unwrap();
    // What she can sign is a card of her own around Bob's lane: it has another Ckp and another hash, and the
    // hash goes into every key of an opening, so Bob cannot open an answer to it.
    let hers = Card::sign(stolen, bob.card().secret().clone(), bob.card().expires(), ckp).unwrap();
    assert_eq!(hers.lane(), bob.card().lane());
    assert_ne!(hers.ckp(), bob.card().ckp());
    assert_ne!(hers.hash().unwrap(), bob.card().hash().unwrap());
}

#[test]
fn a10_every_card_of_one_person_is_another_identity() {
    let root = root(1);
    let mut random = SeededRandom::new(1);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let secrets = meow_core::card::CardSecrets::generate(&root, &mut random).unwrap();
        let file = secrets.card(&recovery(1), vec![server(1)], NOW, &mut random).unwrap();
        let lane = file.card().lane();
        let lkp = lane.lookup.places()[0].lkp;
        for part in [*file.card().ckp().as_bytes(), *lane.key.as_bytes(), *lkp.as_bytes(), lane.kem.0] {
            assert!(seen.insert(part), "two cards share something that links them");
        }
        assert!(seen.insert(*lane.prekey.as_bytes()) && seen.insert(*file.card().secret().expose()));
    }
}

#[test]
fn a11_safety_codes_show_a_substitution() {
    let key = |n| SigningKey::generate(&mut SeededRandom::new(n)).unwrap().public();
    let (alice, bob, mallory) = (key(1), key(2), key(3));
    let code = SafetyCode::new(&[1; 32], &alice, &bob);
    assert_eq!(code, SafetyCode::new(&[1; 32], &bob, &alice));
    for other in [
        SafetyCode::new(&[1; 32], &alice, &mallory),
        SafetyCode::new(&[1; 32], &mallory, &bob),
        SafetyCode::new(&[2; 32], &alice, &bob),
    ] {
        assert_ne!(code.to_string(), other.to_string());
    }
    let text = code.to_string();
    let groups: Vec<_> = text.split(' ').collect();
    assert_eq!(groups.len(), 12);
    assert!(groups.iter().all(|g| g.len() == 5 && g.bytes().all(|b| b.is_ascii_digit())), "{text}");
    assert_eq!(format!("{code:?}"), "SafetyCode(..)");
}

#[test]
fn debug_shows_no_secret() {
    let issuer = Issuer::new(1);
    let shown = format!("{:?}", issuer.file);
    assert!(shown.contains("secret: Secret(..)"), "{shown}");
    assert!(!shown.contains("relay1"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_card_round_trips(seed: u64, expires: u64, servers in 1u8..5) {
        let mut random = SeededRandom::new(seed);
        let secrets = meow_core::card::CardSecrets::generate(&root(seed), &mut random).unwrap();
        let servers = (0..servers).map(server).collect();
        let file = secrets.card(&recovery(seed), servers, expires, &mut random).unwrap();
        prop_assert_eq!(&CardFile::parse(&file.to_bytes().unwrap()).unwrap(), &file);
        let short = CardFile::parse(file.to_uri().unwrap().as_bytes()).unwrap();
        prop_assert_eq!(short.card(), file.card());
        prop_assert_eq!(short.card().expires(), expires);
    }

    #[test]
    fn any_input_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in ".{0,100}") {
        let _ = CardFile::parse(&bytes);
        let _ = CardFile::parse(&[&[4], &bytes[..]].concat());
        let _ = CardFile::parse(uri_of(&bytes).as_bytes());
        let _ = CardFile::parse(format!("meow:{text}").as_bytes());
    }
}

#[test]
fn the_largest_card_fits_its_cap() {
    let url = |n: u8| format!("http://a.example/{}{n}", "x".repeat(238)).parse().unwrap();
    let server = |n| ServerRef::new([n; 32], &[url(0), url(1), url(2), url(3)]).unwrap();
    assert_eq!(server(1).to_wire().unwrap().len(), ServerRef::MAX);
    let issuer = Issuer::new(1);
    let servers: Vec<_> = (1..=4).map(server).collect();
    let file =
        issuer.secrets.card(&recovery(1), servers.clone(), u64::MAX, &mut SeededRandom::new(1)).unwrap();
    assert_eq!(CardFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
    // Only the varints of a full list could be longer: the epoch.
    assert_eq!(file.to_wire().unwrap().len() + 4, CardFile::MAX);
    assert!(file.card().lane().lookup.servers().eq(&servers));
}
