//! Both client stores pass the public suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod memory {
    use meow_client::store::MemoryClientStore;

    fn place() -> impl Fn() -> meow_core::Result<MemoryClientStore> {
        let store = MemoryClientStore::new();
        move || Ok(store.clone())
    }

    meow_testkit::client_store_suite!(place);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use meow_client::store::SqliteClientStore;
    use meow_core::crypto::Secret;

    fn place() -> impl Fn() -> meow_core::Result<SqliteClientStore> {
        let folder = tempfile::tempdir().unwrap();
        let key = Secret::new([0x5e; 32]);
        SqliteClientStore::create(&folder.path().join("store.db"), &key).unwrap();
        move || SqliteClientStore::open(&folder.path().join("store.db"), &key)
    }

    meow_testkit::client_store_suite!(place);
}
