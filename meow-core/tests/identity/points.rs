//! Public keys and signatures that must not be taken.

use std::path::{Path, PathBuf};

use meow_core::crypto::{
    CryptoError, DhPublic, DhSecret, SeededRandom, SignLabel, SigningKey, VerifyKey, hpke_open, hpke_seal,
};
use meow_core::wire::Fixed;

fn bytes(hex: &str) -> [u8; 32] {
    assert_eq!(hex.len(), 64);
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

/// `low` as the first byte, 0xff in the middle, `top` as the last: what lies around the field's prime.
fn near_p(low: u8, top: u8) -> [u8; 32] {
    let mut out = [0xff; 32];
    (out[0], out[31]) = (low, top);
    out
}

fn with_top_bit(mut key: [u8; 32]) -> [u8; 32] {
    key[31] ^= 0x80;
    key
}

fn dh_secrets() -> impl Iterator<Item = DhSecret> {
    (0..20).map(|n| DhSecret::generate(&mut SeededRandom::new(n)).unwrap())
}

/// Every encoding of a point of order 1, 2, 4 or 8 on the curve or its twist.
fn low_order_u() -> Vec<[u8; 32]> {
    let one = bytes("0100000000000000000000000000000000000000000000000000000000000000");
    let canonical = [
        [0; 32],
        one,
        bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        near_p(0xec, 0x7f),
    ];
    // p and p + 1 are 0 and 1 once more.
    let mut all = [&canonical[..], &[near_p(0xed, 0x7f), near_p(0xee, 0x7f)]].concat();
    all.extend(all.clone().into_iter().map(with_top_bit));
    all
}

#[test]
fn a12_low_order_x25519() {
    for point in low_order_u() {
        let Ok(key) = DhPublic::from_bytes(&point) else { continue };
        for secret in dh_secrets() {
            assert_eq!(secret.agree(&key).unwrap_err(), CryptoError::BadKey);
        }
        let mut random = SeededRandom::new(1);
        assert_eq!(hpke_seal(&key, b"", b"", b"x", &mut random).unwrap_err(), CryptoError::BadKey);
    }
    // The zero point and every non-canonical form do not even become a key.
    let keys = low_order_u().into_iter().filter(|p| DhPublic::from_bytes(p).is_ok()).count();
    assert_eq!(keys, 4);
}

#[test]
fn a12_low_order_in_a_sealed_request() {
    let secret = DhSecret::generate(&mut SeededRandom::new(1)).unwrap();
    let (sealed, _) = hpke_seal(&secret.public(), b"", b"", b"x", &mut SeededRandom::new(2)).unwrap();
    assert!(hpke_open(&secret, b"", b"", &sealed).is_ok());
    let with = |enc: [u8; 32]| hpke_open(&secret, b"", b"", &[&enc, &sealed[32..]].concat()).map(drop);
    for point in low_order_u() {
        assert_eq!(with(point), Err(CryptoError::Rejected));
    }
    // The same DH result under another encoding.
    let enc: [u8; 32] = sealed[..32].try_into().unwrap();
    assert_eq!(with(with_top_bit(enc)), Err(CryptoError::Rejected));
}

#[test]
fn a12_one_encoding_per_x25519_key() {
    for secret in dh_secrets() {
        let key = *secret.public().as_bytes();
        assert!(DhPublic::from_bytes(&key).is_ok());
        assert_eq!(DhPublic::from_bytes(&with_top_bit(key)), Err(CryptoError::BadKey), "flipped top bit");
    }
    for low in 0xed..=0xff {
        assert_eq!(DhPublic::from_bytes(&near_p(low, 0x7f)), Err(CryptoError::BadKey));
    }
    assert!(DhPublic::from_bytes(&near_p(0xeb, 0x7f)).is_ok());
    // The same on the wire, where keys arrive.
    for point in [near_p(0xed, 0x7f), with_top_bit([7; 32])] {
        assert!(postcard::from_bytes::<DhPublic>(&point).is_err());
    }
}

/// Every encoding of the eight points of small order on edwards25519.
fn small_order() -> Vec<[u8; 32]> {
    let identity = bytes("0100000000000000000000000000000000000000000000000000000000000000");
    let of_order_8 = [
        bytes("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    // y = 1, 0, -1, and y = p + 1, p, which are 1 and 0 once more; each with either sign.
    let mut all = vec![identity, [0; 32], near_p(0xec, 0x7f), near_p(0xee, 0x7f), near_p(0xed, 0x7f)];
    all.extend(of_order_8);
    all.extend(all.clone().into_iter().map(with_top_bit));
    all
}

#[test]
fn a13_weak_ed25519_keys() {
    for point in small_order() {
        assert_eq!(VerifyKey::from_bytes(&point), Err(CryptoError::BadKey));
        assert!(postcard::from_bytes::<VerifyKey>(&point).is_err());
    }
    // y at or over p, on the curve or not.
    for low in 0xed..=0xff {
        assert_eq!(VerifyKey::from_bytes(&near_p(low, 0x7f)), Err(CryptoError::BadKey));
        assert_eq!(VerifyKey::from_bytes(&near_p(low, 0xff)), Err(CryptoError::BadKey));
    }
}

/// `sig` with the group's order added to its scalar: verifies the same where s is not checked.
fn plus_order(sig: &[u8; 64]) -> Option<[u8; 64]> {
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (mut out, mut carry) = (*sig, 0u16);
    for (s, l) in out[32..].iter_mut().zip(order) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum as u8;
        carry = sum >> 8;
    }
    (carry == 0).then_some(out)
}

#[test]
fn a13_weak_ed25519_signatures() {
    let key = SigningKey::generate(&mut SeededRandom::new(1)).unwrap();
    let parts: [&[u8]; 1] = [b"statement"];
    let sig = key.sign(SignLabel::Card, &parts);
    assert!(key.public().verify(SignLabel::Card, &parts, &sig).is_ok());
    let refused = |sig: [u8; 64]| key.public().verify(SignLabel::Card, &parts, &Fixed(sig)).is_err();
    assert!(refused(plus_order(&sig.0).unwrap()), "s must be below the order");
    for point in small_order() {
        let mut forged = [0; 64];
        forged[..32].copy_from_slice(&point);
        assert!(refused(forged), "R of small order");
        forged[32..].copy_from_slice(&sig.0[32..]);
        assert!(refused(forged));
    }
    assert!(refused([0; 64]) && refused([0xff; 64]));
}

/// Every Rust source of the workspace.
fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, out);
        } else if name.ends_with(".rs") {
            out.push(path);
        }
    }
}

#[test]
fn a13_only_strict_verification_is_called() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = vec![];
    sources(workspace, &mut all);
    let wrapper = workspace.join("meow-core/src/crypto/sign.rs");
    assert!(all.contains(&wrapper) && all.len() > 20);
    // Written in two halves, so that this file is clean too.
    let library = concat!("ed25519", "_dalek");
    for path in all.iter().filter(|p| **p != wrapper) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains(library), "{} goes past the wrapper", path.display());
    }
    let text = std::fs::read_to_string(&wrapper).unwrap();
    let text = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<String>();
    for loose in ["Verifier", "verify_batch", "verify_prehashed", "raw_verify", "hazmat"] {
        assert!(!text.contains(loose), "{loose}");
    }
    assert_eq!(text.matches(".verify_strict(").count(), 1);
}
