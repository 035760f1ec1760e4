//! A card with all its secrets, its forms, and refusals.

use meow_core::card::{CardError, CardFile, CardSecrets, SafetyCode};
use meow_core::crypto::{KeyLabel, SeededRandom, SigningKey, derive};
use meow_core::identity::Master;
use meow_core::lane::ServerRef;
use meow_core::wire::Wire;
use serde_json::json;

use crate::harness::{Section, frame, hex};
use crate::lanes::lookup_secrets;

fn card() -> (CardSecrets, CardFile) {
    let mut random = SeededRandom::new(5);
    let master = Master::generate(&mut random).unwrap();
    let secrets = CardSecrets::generate(&master.root(0), &mut random).unwrap();
    let server = ServerRef::new([0x5e; 32], &["https://relay.example/meow".parse().unwrap()]).unwrap();
    let recovery = master.recovery_key(0).public();
    let file = secrets.card(&recovery, vec![server], 1_800_000_000, &mut random).unwrap();
    (secrets, file)
}

#[test]
fn cards() {
    let mut section =
        Section::new("cards", "One single-use card in its forms, its KEM blob, the safety code, refusals.");
    let (secrets, file) = card();
    let card = file.card();
    section.case(
        "secrets",
        json!({
            "contact id": hex(secrets.contact_id.as_bytes()), "ckp seed": hex(*secrets.ckp.seed()),
            "lane seed": hex(*secrets.lane.seed()), "lookup": lookup_secrets(&secrets.lookup),
            "prekey secret": hex(*secrets.prekey.expose()), "kem seed": hex(postcard::to_stdvec(&secrets.kem).unwrap()),
            "close key": hex(secrets.close.as_bytes()),
        }),
    );
    let lanes = card.lanes().signed().to_wire().unwrap();
    let expires = card.expires().to_be_bytes();
    section.case(
        "card",
        json!({
            "secret": hex(card.secret().expose()), "expires": card.expires(), "signed list": hex(&lanes),
            "statement": hex(frame("meow sign card", &[&lanes, card.secret().expose(), &expires])),
            "card": hex(card.to_wire().unwrap()), "card hash": hex(card.hash().unwrap()),
            "file form": hex(file.to_bytes().unwrap()), "URI form": file.to_uri().unwrap(),
        }),
    );
    let server = &[0x5e; 32];
    let key: [u8; 32] = derive(KeyLabel::CardBlob, &[], card.secret().expose(), &[b"key", server]);
    let kem = secrets.kem.public();
    section.case(
        "KEM blob",
        json!({
            "kem digest": hex(kem.digest()), "name": hex(card.kem_blob_name(server)), "key": hex(key),
            "content": hex(card.seal_kem(&kem, server).unwrap()),
        }),
    );
    let other = SigningKey::from_seed(&[0xc4; 32]).public();
    let code = SafetyCode::new(&[0x7a; 32], card.ckp(), &other);
    section.case(
        "safety code",
        json!({
            "transcript": hex([0x7a; 32]), "ckps": [hex(card.ckp().as_bytes()), hex(other.as_bytes())],
            "code": code.to_string(),
        }),
    );
    refused(&mut section, &file);
    section.check();
}

fn refused(section: &mut Section, file: &CardFile) {
    use base64::Engine as _;
    let whole = file.to_bytes().unwrap();
    let uri = file.to_uri().unwrap();
    let short = CardFile::parse(uri.as_bytes()).unwrap().to_bytes().unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = short.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("newer version", with(0, 0x14), CardError::NewerVersion),
        ("another suite", with(0, 0x03), CardError::Malformed),
        ("another expiry", with(short.len() - 66, short[short.len() - 66] ^ 1), CardError::Malformed),
        ("another card secret", with(short.len() - 71, short[short.len() - 71] ^ 1), CardError::Malformed),
        ("a byte follows", [&short[..], &[0]].concat(), CardError::Malformed),
        ("another KEM key", [&short[..short.len() - 1], &[1], &[0; 1184]].concat(), CardError::Malformed),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(CardFile::parse(&bytes), Err(error), "{name}");
        section.case(&format!("refused: {name}"), json!({ "bytes": hex(bytes) }));
    }
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let texts = [
        ("URI with a KEM key", format!("meow:{}", engine.encode(whole))),
        ("padded base64url", format!("{uri}=")),
        ("capital scheme", uri.replacen("meow", "MEOW", 1)),
        ("no scheme", uri.trim_start_matches("meow:").to_owned()),
    ];
    for (name, text) in texts {
        assert_eq!(CardFile::parse(text.as_bytes()), Err(CardError::Malformed), "{name}");
        section.case(&format!("refused: {name}"), json!({ "text": text }));
    }
}
