//! The embedded store passes the public suite: as it is, and folding before every batch.
use meow_core::crypto::Secret;
use meow_server::store::{SqliteMailboxStore, StoreOptions};

fn place_with(options: StoreOptions) -> impl Fn() -> meow_core::Result<SqliteMailboxStore> {
    let folder = tempfile::tempdir().unwrap();
    move || SqliteMailboxStore::open(&folder.path().join("mailboxes.db"), &Secret::new([7; 32]), options)
}

mod pending {
    fn place() -> impl Fn() -> meow_core::Result<super::SqliteMailboxStore> {
        super::place_with(super::StoreOptions::default())
    }
    meow_testkit::mailbox_store_suite!(place);
}

mod folded {
    fn place() -> impl Fn() -> meow_core::Result<super::SqliteMailboxStore> {
        super::place_with(super::StoreOptions { fold_rows: 1, ..super::StoreOptions::default() })
    }
    meow_testkit::mailbox_store_suite!(place);
}
