//! Words, root, keys, the key file.

use meow_core::crypto::{KeyLabel, PasswordCost, Secret, SeededRandom, SigningKey, derive};
use meow_core::identity::{ContactId, KeyFile, KeyFileError, Master, Unlock, recovery_commitment};
use meow_core::lane::LaneId;
use serde_json::json;

use crate::harness::{Section, frame, hex};

#[test]
fn identity() {
    let mut section = Section::new("identity", "From the 24 words to every key, and the key file.");
    let m = Secret::generate(&mut SeededRandom::new(1)).unwrap();
    let master = Master::generate(&mut SeededRandom::new(1)).unwrap();
    let (contact, lane) = (ContactId::from_bytes([0xc1; 16]), LaneId::from_bytes([0x1a; 16]));
    for generation in [0u32, 1] {
        let r: [u8; 32] = derive(KeyLabel::Root, &[], m.expose(), &[&generation.to_be_bytes()]);
        let ukp_seed: [u8; 32] = derive(KeyLabel::Ukp, &[], &r, &[]);
        let root = master.root(generation);
        assert_eq!(root.ukp().signing_key().public(), SigningKey::from_seed(&ukp_seed).public());
        let (ckp, close) = (root.ckp(&contact), root.close_key(&contact, &lane));
        section.case(
            &format!("generation {generation}"),
            json!({
                "words": *master.words(), "M": hex(m.expose()), "generation": generation, "R": hex(r),
                "ukp seed": hex(ukp_seed), "ukp": hex(root.ukp().signing_key().public().as_bytes()),
                "store key": hex(root.ukp().store_key().expose()),
                "contact id": hex(contact.as_bytes()), "ckp seed": hex(*ckp.seed()), "ckp": hex(ckp.public().as_bytes()),
                "lane id": hex(lane.as_bytes()), "close key seed": hex(*close.seed()), "close key": hex(close.public().as_bytes()),
            }),
        );
    }
    for number in [0u32, 1023] {
        let key = master.recovery_key(number);
        section.case(
            &format!("recovery key {number}"),
            json!({
                "M": hex(m.expose()), "number": number, "seed": hex(*key.seed()), "public": hex(key.public().as_bytes()),
                "commitment": hex(recovery_commitment(&key.public())),
            }),
        );
    }
    key_files(&mut section, &master);
    section.check();
}

fn key_files(section: &mut Section, master: &Master) {
    let (cost, root) = (PasswordCost::STANDARD, master.root(1));
    let lock = Unlock::Password(b"correct horse");
    let file = KeyFile::create(lock, cost, &root, &mut SeededRandom::new(2)).unwrap().encode().unwrap();
    section.case(
        "key file under a password",
        json!({ "password": "correct horse", "file": hex(file), "holds": "generation 1" }),
    );

    let key = Secret::new([0x77; 32]);
    let file =
        KeyFile::create(Unlock::Key(&key), cost, &root, &mut SeededRandom::new(3)).unwrap().encode().unwrap();
    // The wraps once more, from the spec.
    let (head, wraps) = file.split_at(file.len() - 96);
    for (label, wrap) in [("meow wrap ukp", &wraps[..48]), ("meow wrap root", &wraps[48..])] {
        let mut wrap_key = [0; 32];
        let extracted = hkdf::Hkdf::<sha2::Sha256>::new(Some(&head[1..17]), key.expose());
        extracted.expand(&frame(label, &[]), &mut wrap_key).unwrap();
        meow_core::crypto::open_siv(&Secret::new(wrap_key), &[0; 12], head, wrap).unwrap();
    }
    section.case(
        "key file under a provider's key",
        json!({ "key": hex(key.expose()), "file": hex(&file), "holds": "generation 1" }),
    );
    let mut newer = file.clone();
    newer[0] = 1;
    assert_eq!(KeyFile::decode(&newer), Err(KeyFileError::NewerVersion));
    section.case("key file refused: newer version", json!({ "file": hex(newer) }));
    let cheap = [&file[..17], &[1, 3, 1], &file[20..]].concat();
    assert_eq!(KeyFile::decode(&cheap), Err(KeyFileError::Damaged));
    section.case("key file refused: cost of 1 KiB", json!({ "file": hex(cheap) }));
}
