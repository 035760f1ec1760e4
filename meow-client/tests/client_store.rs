//! The client stores under the public conformance suite, and what is particular to the encrypted file.

#![cfg(feature = "sqlite")]

use meow_client::store::SqliteClientStore;
use meow_core::ErrorKind;
use meow_core::crypto::Secret;
use meow_core::store::{ClientStore, Table};

fn key() -> Secret {
    Secret::new([7; 32])
}

#[test]
fn created_then_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteClientStore::create(&path, &key()).unwrap();
    store
        .write(&mut |txn| {
            txn.put(Table::Log, b"a", b"hello plain text")?;
            txn.index_text(b"a", "hello plain text")
        })
        .unwrap();
    drop(store);
    assert_eq!(SqliteClientStore::create(&path, &key()).unwrap_err().kind(), ErrorKind::AlreadyUsed);
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    store
        .read(&mut |txn| {
            assert_eq!(txn.get(Table::Log, b"a")?.unwrap(), b"hello plain text");
            assert_eq!(txn.search_text("plain hel", 10)?, vec![b"a".to_vec()]);
            Ok(())
        })
        .unwrap();
    store.verify().unwrap();
    assert_eq!(
        SqliteClientStore::open(&path, &Secret::new([8; 32])).unwrap_err().kind(),
        ErrorKind::WrongSecret
    );
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(5).any(|w| w == b"hello" || w == b"SQLit"));
    }
}
