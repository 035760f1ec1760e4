use std::fs;

use meow_core::crypto::SeededRandom;

use super::*;

const T: u64 = 1_800_000_000;

fn made() -> (tempfile::TempDir, ServerIdentity, SeededRandom) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = SeededRandom::new(1);
    let identity = ServerIdentity::open_or_create(dir.path(), &mut random).unwrap();
    (dir, identity, random)
}

#[test]
fn an_identity_comes_back_as_it_was() {
    let (dir, mut identity, mut random) = made();
    let ring = identity.ring().turned(T, &mut random).unwrap().unwrap();
    identity.save(ring, &mut random).unwrap();
    let again = ServerIdentity::open_or_create(dir.path(), &mut random).unwrap();
    assert_eq!(again.fingerprint(), identity.fingerprint());
    assert_eq!(again.store_key(), identity.store_key());
    assert!(again.sealing_keys().eq(identity.sealing_keys()));
    assert_eq!(again.ring().seen(), T);
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, identity, mut random) = made();
    // What a crash may have left, with the wrong mode.
    fs::write(dir.path().join("sealing.new"), "x").unwrap();
    let mut identity = identity;
    identity.save(identity.ring().at(T), &mut random).unwrap();
    for name in [KEY_FILE, RING_FILE] {
        assert_eq!(
            fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn a48_every_changed_byte_of_either_file_is_noticed() {
    let (dir, _, mut random) = made();
    for name in [KEY_FILE, RING_FILE] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            fs::write(&path, &bad).unwrap();
            let e = ServerIdentity::open(dir.path(), &mut random).unwrap_err();
            assert!(matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NewerVersion), "{name} {at}: {e}");
        }
        for short in [0, 1, 12, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..short]).unwrap();
            // A text that lacks only its last line end is still whole.
            let whole = name == KEY_FILE && short + 1 == good.len();
            assert_eq!(ServerIdentity::open(dir.path(), &mut random).is_ok(), whole, "{name} {short}");
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(ServerIdentity::open(dir.path(), &mut random).is_ok());
}

#[test]
fn a_lost_key_file_is_not_replaced_by_a_new_identity() {
    let (dir, _, mut random) = made();
    fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    let e = ServerIdentity::open_or_create(dir.path(), &mut random).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Damaged);
    assert!(e.to_string().contains("backup"));
}

#[test]
fn a_lost_ring_is_begun_anew_under_other_numbers() {
    let (dir, mut identity, mut random) = made();
    let ring = identity.ring().turned(T, &mut random).unwrap().unwrap();
    identity.save(ring, &mut random).unwrap();
    fs::remove_file(dir.path().join(RING_FILE)).unwrap();
    let again = ServerIdentity::open_or_create(dir.path(), &mut random).unwrap();
    assert_eq!(again.fingerprint(), identity.fingerprint());
    let fresh = again.ring().turned(T, &mut random).unwrap().unwrap();
    assert!(identity.sealing_keys().all(|key| fresh.secret(key.number).is_none()));
}

#[test]
fn debug_shows_no_secret() {
    let (_dir, identity, _) = made();
    assert_eq!(format!("{identity:?}"), "ServerIdentity(..)");
}
