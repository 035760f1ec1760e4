//! The folder of a device.

#![cfg(all(unix, feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use meow_client::home::Home;
use meow_core::ErrorKind;
use meow_core::crypto::Secret;
use meow_core::store::{ClientStore, StoreTxn, Table};

fn key() -> Secret {
    Secret::new([7; 32])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A folder with an identity in it.
fn made(parent: &Path) -> Home {
    let home = Home::new(parent.join("deep/down/home"));
    let store = home.create_store(&key()).unwrap();
    store.write(&mut |txn| txn.put(Table::Meta, b"a", b"1")).unwrap();
    home.save_keys(b"the keys").unwrap();
    home
}

#[test]
fn made_then_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("deep/down/home"));
    assert_eq!(home.load_keys().unwrap(), None);
    assert!(!home.directory().exists(), "looking makes nothing");
    made(folder.path());

    assert_eq!(home.load_keys().unwrap().unwrap(), b"the keys");
    let store = home.open_store(&key()).unwrap();
    assert_eq!(home.create_store(&key()).unwrap_err().kind(), ErrorKind::AlreadyUsed);
    let check = |txn: &dyn StoreTxn| {
        assert_eq!(txn.get(Table::Meta, b"a")?.unwrap(), b"1");
        Ok(())
    };
    store.read(&mut |txn| check(txn)).unwrap();
    home.save_keys(b"other keys").unwrap();
    assert_eq!(Home::new(home.directory()).load_keys().unwrap().unwrap(), b"other keys");
}

#[test]
fn only_the_owner_can_look() {
    let folder = tempfile::tempdir().unwrap();
    let home = made(folder.path());
    let _open = home.open_store(&key()).unwrap();
    assert_eq!(mode(home.directory()), 0o700);
    for entry in fs::read_dir(home.directory()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[test]
fn a_folder_that_others_can_look_into_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = made(folder.path());
    for lax in [0o750, 0o705, 0o701] {
        fs::set_permissions(home.directory(), Permissions::from_mode(lax)).unwrap();
        for error in [
            home.load_keys().unwrap_err(),
            home.save_keys(b"").unwrap_err(),
            home.open_store(&key()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::System);
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
    }
    fs::set_permissions(home.directory(), Permissions::from_mode(0o700)).unwrap();
    home.open_store(&key()).unwrap();

    // Empty, it can only be meant for us; with something in it, it may not.
    let lax = folder.path().join("lax");
    fs::create_dir(&lax).unwrap();
    fs::set_permissions(&lax, Permissions::from_mode(0o755)).unwrap();
    fs::write(lax.join("something"), "").unwrap();
    assert_eq!(Home::new(&lax).create_store(&key()).unwrap_err().kind(), ErrorKind::System);
    fs::remove_file(lax.join("something")).unwrap();
    Home::new(&lax).create_store(&key()).unwrap();
    assert_eq!(mode(&lax), 0o700);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = if rustix::process::geteuid().is_root() {
        let home = made(folder.path());
        chown(home.directory(), Some(12345), None).unwrap();
        home
    } else {
        // Root's.
        Home::new("/")
    };
    let error = home.load_keys().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.to_string().contains("another user"), "{error}");
}

#[test]
fn one_identity_is_made_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Home::new(folder.path()), Home::new(folder.path()));
    one.create_store(&key()).unwrap();
    assert_eq!(two.create_store(&key()).unwrap_err().kind(), ErrorKind::AlreadyUsed);
    assert_eq!(two.save_keys(b"two").unwrap_err().kind(), ErrorKind::AlreadyUsed);
    one.save_keys(b"one").unwrap();
    assert_eq!(two.create_store(&key()).unwrap_err().kind(), ErrorKind::AlreadyUsed);
    assert_eq!(two.load_keys().unwrap().unwrap(), b"one");
}

#[test]
fn an_interrupted_attempt_is_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let first = Home::new(folder.path());
    first.create_store(&key()).unwrap();
    drop(first);
    let second = Home::new(folder.path());
    let other = Secret::new([8; 32]);
    second.create_store(&other).unwrap();
    second.save_keys(b"second").unwrap();
    second.open_store(&other).unwrap();
    let aside = folder.path().join("unfinished-1/store.db");
    meow_client::store::SqliteClientStore::open(&aside, &key()).unwrap();
}

#[test]
fn a_newer_or_damaged_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = made(folder.path());
    let marker = home.directory().join("home");
    let whole = fs::read(&marker).unwrap();
    let kinds =
        |home: &Home| (home.load_keys().unwrap_err().kind(), home.open_store(&key()).unwrap_err().kind());
    fs::write(&marker, "meow home 2\n").unwrap();
    assert_eq!(kinds(&home), (ErrorKind::NewerVersion, ErrorKind::NewerVersion));
    fs::write(&marker, "meow hone 1\n").unwrap();
    assert_eq!(kinds(&home), (ErrorKind::Damaged, ErrorKind::Damaged));
    fs::remove_file(&marker).unwrap();
    assert_eq!(kinds(&home), (ErrorKind::Damaged, ErrorKind::Damaged));
    fs::write(&marker, whole).unwrap();
    home.open_store(&key()).unwrap();

    fs::remove_file(home.directory().join("store.db")).unwrap();
    assert_eq!(home.open_store(&key()).unwrap_err().kind(), ErrorKind::Damaged, "never an empty store");
}
