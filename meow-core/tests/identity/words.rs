//! The 24 words, and what comes from them.

use meow_core::ErrorKind;
use meow_core::crypto::{Secret, SeededRandom};
use meow_core::identity::{ContactId, Master, RECOVERY_KEYS, RecoveryKeys, WordsError};
use meow_core::lane::LaneId;
use proptest::prelude::*;

use crate::common::root;

fn master(seed: u64) -> Master {
    Master::generate(&mut SeededRandom::new(seed)).unwrap()
}

/// From the reference vectors of BIP-39 (256 bits, all zero).
const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
     abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

#[test]
fn words_are_those_of_bip39() {
    let master = Master::parse(ZEROS).unwrap();
    assert_eq!(*master.words(), ZEROS);
    let loose = ZEROS.to_uppercase().replace(' ', "\n \t");
    assert_eq!(Master::parse(&loose).unwrap(), master);
}

#[test]
fn wrong_words_say_where_to_look() {
    let words = |change: fn(&mut Vec<&str>)| {
        let mut words: Vec<_> = ZEROS.split_whitespace().collect();
        change(&mut words);
        Master::parse(&words.join(" ")).unwrap_err()
    };
    assert_eq!(words(|w| w.truncate(23)), WordsError::Count(23));
    assert_eq!(words(|w| w.push("art")), WordsError::Count(25));
    assert_eq!(Master::parse("").unwrap_err(), WordsError::Count(0));
    // Shorter phrases are valid BIP-39, and are no master.
    assert_eq!(words(|w| w.truncate(12)), WordsError::Count(12));
    assert_eq!(words(|w| w[16] = "abandom"), WordsError::Unknown(17));
    assert_eq!(words(|w| w[0] = "zoo"), WordsError::Checksum);
    assert_eq!(words(|w| w.swap(0, 23)), WordsError::Checksum);
    let error = meow_core::Error::from(words(|w| w[16] = "abandom"));
    assert_eq!(error.kind(), ErrorKind::WrongSecret);
    assert!(error.to_string().contains("17") && !error.to_string().contains("abandom"));
}

#[test]
fn every_derived_key_differs() {
    let (m, other) = (master(1), master(2));
    let id = |n| ContactId::from_bytes([n; 16]);
    let lane = |n| LaneId::from_bytes([n; 16]);
    let mut keys = vec![];
    for m in [&m, &other] {
        for generation in [0, 1] {
            let root = m.root(generation);
            assert_eq!(root.generation(), generation);
            keys.push(*root.ukp().store_key().expose());
            keys.push(*root.ukp().signing_key().public().as_bytes());
            for n in [1, 2] {
                keys.push(*root.ckp(&id(n)).public().as_bytes());
                keys.push(*root.close_key(&id(n), &lane(1)).public().as_bytes());
                keys.push(*root.close_key(&id(n), &lane(2)).public().as_bytes());
            }
        }
        keys.extend((0..3).map(|i| *m.recovery_key(i).public().as_bytes()));
    }
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all);
    assert_eq!(master(1).root(0).ckp(&id(1)).public(), m.root(0).ckp(&id(1)).public());
}

#[test]
fn recovery_keys_are_numbered() {
    use meow_core::wire::Wire;
    let m = master(1);
    let keys = RecoveryKeys::of(&m, 5);
    assert_eq!(keys.end(), 5 + RECOVERY_KEYS as u32);
    assert_eq!(keys.key(4), Ok(None));
    assert_eq!(keys.key(5), Ok(Some(m.recovery_key(5).public())));
    assert_eq!(keys.key(keys.end() - 1), Ok(Some(m.recovery_key(keys.end() - 1).public())));
    assert_eq!(keys.key(keys.end()), Ok(None));
    let bytes = keys.to_wire().unwrap();
    assert!(bytes.len() <= RecoveryKeys::MAX);
    assert_eq!(RecoveryKeys::from_wire(&bytes).unwrap(), keys);
    let near_the_end = RecoveryKeys::of(&m, u32::MAX - 2);
    assert_eq!(near_the_end.key(u32::MAX - 1), Ok(Some(m.recovery_key(u32::MAX - 1).public())));
    assert_eq!(near_the_end.end(), u32::MAX);
}

#[test]
fn debug_shows_no_secret() {
    let m = master(1);
    let r = m.root(3);
    assert_eq!(format!("{m:?}"), "Master(..)");
    assert_eq!(format!("{r:?}"), "Root(generation 3, ..)");
    assert_eq!(format!("{:?}", r.ukp()), "Ukp(..)");
    assert_eq!(format!("{:?}", r.ukp().store_key()), "Secret(..)");
    assert_eq!(format!("{:?}", r.ukp().signing_key()), "SigningKey(..)");
    assert_eq!(format!("{:?}", ContactId::from_bytes([1; 16])), "ContactId(..)");
    assert_eq!(format!("{:?}", RecoveryKeys::of(&m, 0)), "RecoveryKeys(0..1024)");
    let secrets = meow_core::card::CardSecrets::generate(&r, &mut SeededRandom::new(1)).unwrap();
    assert_eq!(format!("{secrets:?}"), "CardSecrets(..)");
}

#[test]
fn a14_two_fresh_installs_differ() {
    use meow_core::crypto::SystemRandom;
    let fresh = || {
        let master = Master::generate(&mut SystemRandom).unwrap();
        let secrets = meow_core::card::CardSecrets::generate(&master.root(0), &mut SystemRandom).unwrap();
        (master, secrets)
    };
    let ((m1, s1), (m2, s2)) = (fresh(), fresh());
    assert_ne!(m1, m2);
    assert_ne!(s1.ckp.public(), s2.ckp.public());
    // An image that was cloned after the words were made: the same root still gives other keys per contact.
    let again = meow_core::card::CardSecrets::generate(&m1.root(0), &mut SystemRandom).unwrap();
    let (lkp, token) = s1.lookup.keys(&[1; 32]);
    let (lkp_again, token_again) = again.lookup.keys(&[1; 32]);
    for (a, b) in [(&s1.ckp, &again.ckp), (&s1.lane, &again.lane), (&lkp, &lkp_again)] {
        assert_ne!(a.public(), b.public());
    }
    assert_ne!(s1.prekey.public(), again.prekey.public());
    assert_ne!(s1.kem.public(), again.kem.public());
    assert_ne!((token, s1.contact_id), (token_again, again.contact_id));
    assert_ne!(s1.close, again.close);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn words_round_trip(seed: u64) {
        let m = master(seed);
        prop_assert_eq!(m.words().split(' ').count(), 24);
        prop_assert_eq!(Master::parse(&m.words()).unwrap(), m);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[ a-z\u{80}-\u{2ff}]{0,200}") {
        let _ = Master::parse(&text);
    }

    #[test]
    fn roots_of_two_masters_differ(a: u64, b: u64) {
        prop_assume!(a != b);
        let store = |seed| -> Secret { root(seed).ukp().store_key() };
        prop_assert_ne!(store(a), store(b));
    }
}
