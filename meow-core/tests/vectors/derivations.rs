//! Every label: keys, digests, signatures.

use hmac::{KeyInit, Mac};
use meow_core::crypto::{
    HashLabel, HpkeLabel, KeyLabel, PasswordCost, Secret, SignLabel, SigningKey, chain_step, derive, hash,
    key_commitment, password_key, request_info,
};
use serde_json::json;
use sha2::Digest;

use crate::harness::{Section, frame, hex};

const SALT: [u8; 32] = [0x11; 32];
const IKM: [u8; 32] = [0x22; 32];
const PARTS: [&[u8]; 3] = [&[0x33; 16], b"part", &7u64.to_be_bytes()];

fn parts() -> Vec<String> {
    PARTS.iter().map(hex).collect()
}

#[test]
fn derivations() {
    let mut section = Section::new(
        "derivations",
        "Every label with one input: 64 bytes of derive, the digest of hash, an Ed25519 signature. What goes in for \
         real stands in the table of the chapter Cryptography.",
    );
    for label in KeyLabel::ALL {
        let info = frame(label.text(), &PARTS);
        let okm: [u8; 64] = derive(*label, &SALT, &IKM, &PARTS);
        let mut again = [0; 64];
        hkdf::Hkdf::<sha2::Sha256>::new(Some(&SALT), &IKM).expand(&info, &mut again).unwrap();
        assert_eq!(okm, again, "{label:?}");
        section.case(
            &format!("derive {}", label.text()),
            json!({ "label": label.text(), "salt": hex(SALT), "ikm": hex(IKM), "context": parts(), "info": hex(info), "okm": hex(okm) }),
        );
    }
    for label in HashLabel::ALL {
        let framed = frame(label.text(), &PARTS);
        let digest = hash(*label, &PARTS);
        assert_eq!(digest, <[u8; 32]>::from(sha2::Sha256::digest(&framed)), "{label:?}");
        section.case(
            &format!("hash {}", label.text()),
            json!({ "label": label.text(), "parts": parts(), "framed": hex(framed), "digest": hex(digest) }),
        );
    }
    let key = SigningKey::from_seed(&[0x44; 32]);
    for label in SignLabel::ALL {
        section.case(
            &format!("sign {}", label.text()),
            json!({
                "label": label.text(), "seed": hex(key.seed().as_slice()), "public": hex(key.public().as_bytes()),
                "parts": parts(), "statement": hex(frame(label.text(), &PARTS)), "signature": hex(key.sign(*label, &PARTS)),
            }),
        );
    }
    hpke(&mut section);
    shared(&mut section);
    section.check();
}

fn hpke(section: &mut Section) {
    for label in HpkeLabel::ALL {
        let (text, bytes) = match label {
            HpkeLabel::Request => ("info, for the fingerprint 33..33", request_info(&[0x33; 32])),
            HpkeLabel::Answer => ("exporter context", meow_core::crypto::ANSWER_KEY.to_vec()),
            HpkeLabel::Session => ("exporter context", meow_core::crypto::SESSION_KEY.to_vec()),
            other => panic!("{other:?} has no vector"),
        };
        section.case(
            &format!("hpke {}", label.text()),
            json!({ "label": label.text(), "use": text, "bytes": hex(bytes) }),
        );
    }
    assert_eq!(request_info(&[0x33; 32]), frame("meow request", &[&[0x33; 32]]));
}

fn shared(section: &mut Section) {
    let key = Secret::new([0x55; 32]);
    section
        .case("key commitment", json!({ "key": hex(key.expose()), "commitment": hex(key_commitment(&key)) }));
    let (message, next) = chain_step(&key);
    for (byte, made) in [(1u8, &message), (2, &next)] {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.expose()).unwrap();
        mac.update(&[byte]);
        assert_eq!(made.expose().as_slice(), mac.finalize().into_bytes().as_slice());
    }
    section.case(
        "chain step",
        json!({ "chain key": hex(key.expose()), "message key": hex(message.expose()), "next chain key": hex(next.expose()) }),
    );
    let cost = PasswordCost::STANDARD;
    let made = password_key(b"correct horse", &[0x66; 16], cost).unwrap();
    section.case(
        "password",
        json!({
            "password": "correct horse", "salt": hex([0x66; 16]),
            "memory_kib": cost.memory_kib, "passes": cost.passes, "lanes": cost.lanes, "key": hex(made.expose()),
        }),
    );
}
