//! The key file: passwords, provider keys, damage.

use meow_core::crypto::{PasswordCost, SeededRandom};
use meow_core::identity::{KeyFile, KeyFileError, Root, Unlock};
use meow_core::wire::Wire;
use meow_core::{Error, ErrorKind};
use proptest::prelude::*;

use crate::common::{root, secret};

const COST: PasswordCost = PasswordCost::STANDARD;

fn under_key(root: &Root, byte: u8, seed: u64) -> KeyFile {
    KeyFile::create(Unlock::Key(&secret(byte)), COST, root, &mut SeededRandom::new(seed)).unwrap()
}

/// Both keys of a file, or the first error on the way to them.
fn open(bytes: &[u8], lock: Unlock<'_>) -> Result<Root, KeyFileError> {
    let file = KeyFile::decode(bytes)?;
    let unlocked = file.unlock(lock)?;
    let (ukp, root) = (unlocked.ukp()?, unlocked.root()?);
    assert_eq!(root.ukp(), ukp);
    Ok(root)
}

#[test]
fn a_password_opens_what_it_locked() {
    let root = root(1);
    let mut random = SeededRandom::new(1);
    let file = KeyFile::create(Unlock::Password(b"correct horse"), COST, &root, &mut random).unwrap();
    let bytes = file.encode().unwrap();
    assert!(file.needs_password() && file.generation() == 0);
    assert_eq!(open(&bytes, Unlock::Password(b"correct horse")).unwrap(), root);
    assert_eq!(open(&bytes, Unlock::Password(b"correct hors")).unwrap_err(), KeyFileError::WrongSecret);
    assert_eq!(open(&bytes, Unlock::Key(&secret(1))).unwrap_err(), KeyFileError::OtherLock);

    let new =
        file.relock(Unlock::Password(b"correct horse"), Unlock::Password(b"new"), COST, &mut random).unwrap();
    assert_ne!(new.encode().unwrap()[1..17], bytes[1..17], "a new salt");
    let new = new.encode().unwrap();
    assert_eq!(open(&new, Unlock::Password(b"new")).unwrap(), root);
    assert_eq!(open(&new, Unlock::Password(b"correct horse")).unwrap_err(), KeyFileError::WrongSecret);
    let wrong = file.relock(Unlock::Password(b"guess"), Unlock::Password(b"new"), COST, &mut random);
    assert_eq!(wrong.unwrap_err(), KeyFileError::WrongSecret);
}

#[test]
fn a_provider_can_stand_in_for_the_password() {
    let root = root(1);
    let file = under_key(&root, 5, 1);
    assert!(!file.needs_password());
    let bytes = file.encode().unwrap();
    assert_eq!(open(&bytes, Unlock::Key(&secret(5))).unwrap(), root);
    assert_eq!(open(&bytes, Unlock::Key(&secret(6))).unwrap_err(), KeyFileError::WrongSecret);
    assert_eq!(open(&bytes, Unlock::Password(b"")).unwrap_err(), KeyFileError::OtherLock);
    let mut random = SeededRandom::new(3);
    let moved = file.relock(Unlock::Key(&secret(5)), Unlock::Password(b"pw"), COST, &mut random).unwrap();
    assert_eq!(open(&moved.encode().unwrap(), Unlock::Password(b"pw")).unwrap(), root);
}

#[test]
fn the_store_opens_without_the_root() {
    let root = root(1);
    let mut bytes = under_key(&root, 5, 1).encode().unwrap();
    // The last 48 bytes are the root's wrap: damage there leaves everyday data readable.
    *bytes.last_mut().unwrap() ^= 1;
    let file = KeyFile::decode(&bytes).unwrap();
    let (one, five) = (secret(5), secret(5));
    let unlocked = file.unlock(Unlock::Key(&one)).unwrap();
    assert_eq!(unlocked.ukp().unwrap().store_key(), root.ukp().store_key());
    assert_eq!(unlocked.root().unwrap_err(), KeyFileError::Damaged);
    assert_eq!(
        file.relock(Unlock::Key(&five), Unlock::Key(&secret(6)), COST, &mut SeededRandom::new(1))
            .unwrap_err(),
        KeyFileError::Damaged
    );
}

#[test]
fn generations_are_kept() {
    let root = meow_core::identity::Master::generate(&mut SeededRandom::new(1)).unwrap().root(7);
    let file = under_key(&root, 5, 1);
    assert_eq!(file.generation(), 7);
    assert_eq!(open(&file.encode().unwrap(), Unlock::Key(&secret(5))).unwrap().generation(), 7);
}

#[test]
fn a_flipped_bit_is_an_error() {
    let bytes = under_key(&root(1), 5, 1).encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = open(&bad, Unlock::Key(&secret(5))).unwrap_err();
        // The commitment, and a cost that turns the provider's key into a password.
        let other = [KeyFileError::WrongSecret, KeyFileError::OtherLock, KeyFileError::NewerVersion];
        assert!(error == KeyFileError::Damaged || other.contains(&error), "bit {bit}: {error:?}");
        if bit < 8 {
            assert_eq!(error, KeyFileError::NewerVersion);
        }
    }
    for cut in 0..bytes.len() {
        assert_eq!(KeyFile::decode(&bytes[..cut]).unwrap_err(), KeyFileError::Damaged);
    }
}

/// The fields of the file: version 1, salt 16, cost 3 (zeros), generation 1, commitment 32, ukp 48, root 48.
fn splice(bytes: &[u8], from: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[range.clone()].copy_from_slice(&from[range]);
    out
}

#[test]
fn a38_a_file_opens_under_one_key_only() {
    let (a, b) = (under_key(&root(1), 5, 1).encode().unwrap(), under_key(&root(2), 6, 1).encode().unwrap());
    assert_eq!(a.len(), 149);
    assert_eq!(a[..21], b[..21], "same salt, so that only the keys differ");
    let (k5, k6) = (secret(5), secret(6));
    // The commitment of the other key: the first is refused before anything is opened, the second opens nothing.
    let committed = splice(&a, &b, 21..53);
    assert_eq!(open(&committed, Unlock::Key(&k5)).unwrap_err(), KeyFileError::WrongSecret);
    assert_eq!(open(&committed, Unlock::Key(&k6)).unwrap_err(), KeyFileError::Damaged);
    // The wraps of the other file: the commitment lets only the first key try, and it opens nothing.
    let wrapped = splice(&a, &b, 53..149);
    assert_eq!(open(&wrapped, Unlock::Key(&k5)).unwrap_err(), KeyFileError::Damaged);
    assert_eq!(open(&wrapped, Unlock::Key(&k6)).unwrap_err(), KeyFileError::WrongSecret);
    // One wrap shown as the other.
    let mut swapped = a.clone();
    swapped[53..101].copy_from_slice(&a[101..149]);
    swapped[101..149].copy_from_slice(&a[53..101]);
    assert_eq!(open(&swapped, Unlock::Key(&k5)).unwrap_err(), KeyFileError::Damaged);
}

#[test]
fn a_hostile_cost_is_refused_before_any_work() {
    let root = root(1);
    for cost in [
        PasswordCost { memory_kib: 64 * 1024 - 1, ..COST },
        PasswordCost { memory_kib: u32::MAX, ..COST },
        PasswordCost { passes: 2, ..COST },
        PasswordCost { passes: 17, ..COST },
        PasswordCost { lanes: 0, ..COST },
        PasswordCost { lanes: 5, ..COST },
    ] {
        let made = KeyFile::create(Unlock::Password(b"x"), cost, &root, &mut SeededRandom::new(1));
        assert_eq!(made.unwrap_err(), KeyFileError::Cost);
        let bytes = under_key(&root, 5, 1).encode().unwrap();
        let varints = postcard::to_stdvec(&cost).unwrap();
        let hostile = [&bytes[..17], &varints, &bytes[20..]].concat();
        assert_eq!(open(&hostile, Unlock::Password(b"x")).unwrap_err(), KeyFileError::Damaged);
    }
}

#[test]
fn errors_have_kinds_and_debug_shows_nothing() {
    let kind = |e| Error::from(e).kind();
    assert_eq!(kind(KeyFileError::WrongSecret), ErrorKind::WrongSecret);
    assert_eq!(kind(KeyFileError::OtherLock), ErrorKind::WrongSecret);
    assert_eq!(kind(KeyFileError::Damaged), ErrorKind::Damaged);
    assert_eq!(kind(KeyFileError::NewerVersion), ErrorKind::NewerVersion);
    assert_eq!(kind(KeyFileError::Cost), ErrorKind::Usage);
    let file = under_key(&root(1), 5, 1);
    assert_eq!(format!("{:?}", file.unlock(Unlock::Key(&secret(5))).unwrap()), "Unlocked(..)");
    assert_eq!(format!("{:?}", Unlock::Password(b"pw")), "Password(..)");
    assert_eq!(format!("{:?}", Unlock::Key(&secret(5))), "Key(..)");
    let shown = format!("{file:?}");
    assert!(shown.contains("ukp: [48 bytes]") && shown.contains("commitment: [32 bytes]"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = KeyFile::decode(&bytes) {
            prop_assert_eq!(file.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn any_file_round_trips(seed: u64, key: u8) {
        let root = root(seed);
        let bytes = under_key(&root, key, seed).encode().unwrap();
        prop_assert!(bytes.len() <= KeyFile::MAX);
        prop_assert_eq!(open(&bytes, Unlock::Key(&secret(key))).unwrap(), root);
    }
}
